"""Everything that knows PostgreSQL: the embedded server, migrations, partitions, row encoders and the writer."""
