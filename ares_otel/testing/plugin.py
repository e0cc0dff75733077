"""The pytest plugin; pytest loads it in every run of a project that has Ares OTel installed, so it imports little."""
