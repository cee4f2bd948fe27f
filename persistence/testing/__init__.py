"""For the tests of a game's engine: fights, a dispatcher and books, without a server.

`plugin` is a plugin of pytest; its fixture `settlement` is all that a test needs. No
Django. Nothing here is a rule: contract, scripts and plan are those of production.
"""
