"""Messages of Prometheus: remote write 1.0 and 2.0, remote read, and the protobuf exposition; `make proto` writes them.

The packages have names of our own, which the wire does not tell: two modules in one process with the same name of a
message would not load.
"""
