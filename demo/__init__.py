"""The demo: a simulated game whose players the real system has to keep.

The fights, pure and repeatable from a seed:
    fights      turn by turn simulation of one fight
    documents   its result payload, and ways to get that wrong
    shortages   fights that ask for more than there is
    schedule    which fights come, and which mishaps befall their delivery
    submission  one delivery, and what has to come of it
    model       what every character must own after all of them

Adventures, as pure and as repeatable: pairs of players who travel, trade and fight:
    deeds       what they do, and the answer that each step has to get
    adventurers who does it
    stories     which deeds come, and what befalls them
    bag         what one of them owns, row by row
    fates       what must come of all deeds

The doing:
    world       what the tables hold before and after
    census      the same of adventurers, row by row, and what Redis says of them
    engine      hands everything over, as a game server would
    adventure   does the deeds, as a game server would
    buttons     what a player is told who presses one
    journal     the engine's own record of what it sent
    watch       how much of it the tables know already
    backlog     what is still on its way
    summary     the tables against journal and model
    adventure_summary  the adventurers' part of it
    verdict     what a summary consists of
    stack       the processes: worker, beat, web server, Flower
    play        `manage.py demo` from start to verdict
    endless     `manage.py run`

Nothing here looks at how the system settles. Expectations come from the simulated
fights alone, so that a fault of the system cannot hide in its own arithmetic.
"""
