"""Three regions on one machine: namespaces, the WAN between them, processes, faults. docs/concepts/world.md."""
