"""The written results: tables, the HTML page, the leaderboard, the paper's claims.

May import: the engine, all other packages of the analysis.
"""
