"""Which node fails, since when, and whether it is noise: SQL and the few lines that run it.

Each ``*.sql`` file is one documented query. `komos_source.loading.load` creates them as views.
"""
