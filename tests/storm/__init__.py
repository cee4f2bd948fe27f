"""`python -m tests.storm`: the whole system under load and faults, judged from outside.

An engine, an admin and a bot do what they do in a game, each in a process or threads of
their own, with a journal on disk. A nemesis draws faults from a seed. In the end the
journals say what has to be true, and nothing the system says of itself is believed.
"""
