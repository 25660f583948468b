CREATE TEMP TABLE t (k int, g text, i int, b bigint, n numeric(10,2), f float8, s text, v interval, p boolean, d date);
INSERT INTO t VALUES
 (1, 'a', 3, 30, 1.50, 1.5, 'x', '1 day', true, '2024-01-01'),
 (2, 'a', 1, 10, 2.25, 2.5, 'y', '36 hours', false, '2024-01-02'),
 (3, 'a', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (4, 'b', 3, 30, 1.50, 1.5, 'x', '1 mon', true, '2024-01-01'),
 (5, 'b', 7, 70, 100.01, -4.25, 'a,b', '1 mon 2 days 03:00:00', true, '2024-02-29'),
 (6, 'b', 3, 31, 0.10, 1e10, 'x', '-1 days', true, '2024-01-01'),
 (7, 'c', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
