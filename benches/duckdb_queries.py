"""Times queries at a native table of DuckDB: python3 duckdb_queries.py FACTS.csv QUERY...; a line of median milliseconds for each query."""

import sys
import time

import duckdb

connection = duckdb.connect()
connection.execute(
    "CREATE TABLE facts (id int, day timestamp, nation text, priority text, flag text, amount decimal(12, 2))"
)
connection.execute("INSERT INTO facts SELECT * FROM read_csv(?, header = true)", [sys.argv[1]])
for query in sys.argv[2:]:
    took = []
    begun = time.perf_counter()
    while time.perf_counter() - begun < 3:
        one = time.perf_counter()
        connection.execute(query).fetchall()
        took.append((time.perf_counter() - one) * 1000)
    took.sort()
    print(f"{took[len(took) // 2]:.3f}")
