"""The public system's services, written on this package: what each needs of its database, in short functions.

| module | service | round trips to PostgreSQL, with Redis |
|---|---|---|
| ``purchase_executor`` | buys what a signal suggests, once per agent | 1 per signal, 3 per agent that buys |
| ``dashboard`` | the lists of a user's web page | 1 per list |
| ``snapshots`` | the hourly value of every wallet | 4 per page of agents |
| ``price_loop`` | peaks, stop losses and what to sell, every 1.5 seconds | 2 per tick |
| ``swap_export`` | closed trades with their signals, as CSV | 1 per 1,000 rows, and 4 |

Money is a Decimal throughout; ``numbers`` has the context in which no digit of it is lost.
"""
