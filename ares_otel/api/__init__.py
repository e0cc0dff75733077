"""The REST API: one thin router a surface, over the read functions of `query`. No SQL here."""
