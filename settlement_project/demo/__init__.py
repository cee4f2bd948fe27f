"""The demo: a simulated game whose fights the real system has to settle.

    world      what the tables hold before the fights
    fights     turn by turn simulation of one fight
    documents  the result payload of a fight, and ways to get it wrong
    schedule   which fights come, and which mishaps befall their delivery
    engine     hands everything over, as a game server would
    journal    the engine's own record of what it sent
    model      what every character must own then, worked out from the journal
    watch      how much of it the tables know already
    summary    the tables against the model
    stack      the processes: worker, beat, and for `run` the web server and Flower

Nothing here looks at how the system settles. Expectations come from the simulated
fights alone, so that a fault of the system cannot hide in its own arithmetic.
"""
