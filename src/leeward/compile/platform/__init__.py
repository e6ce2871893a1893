"""What a cluster is made of and how it is supplied: machines, Cluster API, Argo CD, federation, sealed secrets."""
