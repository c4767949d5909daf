"""expkit from Python: the objects of the command line, for notebooks and programs.

    import expkit

    run = expkit.run("+experiment=digits", "epochs=1")  # stopped? expkit.resume(run.folder)
    model = expkit.load(run.folder)
    model.predict(["a.jpg", "b.png"])
    model.evaluate("more_photos").metrics
    expkit.sweep("+experiment=digits", "+sweeps=lr_wd_pct_start").trials
    expkit.compare(run, "outputs/digits/RUN").setups

What the command line ends with a message and a status is a `UserError` here. The working directory, logging and signal
handlers stay as they are, and several runs may follow one another in a process.
"""

from expkit.api.comparing import compare
from expkit.api.model import Model, load
from expkit.api.running import Result, compose, resume, run
from expkit.api.sweeping import sweep

__all__ = ["Model", "Result", "compare", "compose", "load", "resume", "run", "sweep"]
