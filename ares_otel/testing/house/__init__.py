"""The process behind the fixture `ares`: one PostgreSQL for a run of tests, a database for each test, and an Ares for
those that want one. The workers of a run share it; it ends with the last of them, however that ended."""
