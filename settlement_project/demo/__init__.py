"""The demo: a simulated game whose fights the real system has to settle.

The fights, pure and repeatable from a seed:
    fights      turn by turn simulation of one fight
    documents   its result payload, and ways to get that wrong
    shortages   fights that ask for more than there is
    schedule    which fights come, and which mishaps befall their delivery
    submission  one delivery, and what has to come of it
    model       what every character must own after all of them

The doing:
    world       what the tables hold before and after
    engine      hands everything over, as a game server would
    journal     the engine's own record of what it sent
    watch       how much of it the tables know already
    backlog     what is still on its way
    summary     the tables against journal and model
    stack       the processes: worker, beat, web server, Flower
    play        `manage.py demo` from start to verdict
    endless     `manage.py run`

Nothing here looks at how the system settles. Expectations come from the simulated
fights alone, so that a fault of the system cannot hide in its own arithmetic.
"""
