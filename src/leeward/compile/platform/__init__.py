"""What a cluster is made of and fed by: machines, Cluster API, Argo CD, federation, sealed secrets."""
