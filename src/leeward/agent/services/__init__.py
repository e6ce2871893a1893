"""What an agent does beside its machine: DNS, exports, conditions, deep health, certificates, care of the store."""
