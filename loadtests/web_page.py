"""Locust's web page: its form lists the models, and what cannot run is said instead of started."""

import sys
from argparse import Namespace
from typing import Any

from flask import Response, jsonify, request

from eventlog.errors import DriftlineError
from eventlog.settings import Home
from loadtests.traffic import Traffic
from registry.store import Registry


def listed_models() -> list[str] | None:
    """Return the choices of the form's list of models; None if nothing is listed.

    Without the page, a model that is not registered has an error of its own.
    """
    if {"--headless", "--worker"} & set(sys.argv):
        return None
    try:
        names = Registry(Home.from_environment()).models()
    except (DriftlineError, OSError):
        return None  # reported when the load starts
    return ["", *names] if names else None


def refuse_unfit(environment: Any) -> None:
    """Answer the form with the reason if its load cannot run; the next one may."""

    @environment.web_ui.app.before_request
    def check() -> Response | None:
        if request.method != "POST" or not request.path.endswith("/swarm"):
            return None
        options = {**vars(environment.parsed_options), **_stated(request.form)}
        try:
            Traffic(Registry(Home.from_environment()), Namespace(**options))
        except DriftlineError as error:
            return jsonify({"success": False, "message": str(error), "host": environment.host})
        return None


def _stated(form: Any) -> dict[str, Any]:
    """Return the fields that decide which requests are made."""
    names = [
        "host",
        "model",
        "model_version",
        "shape",
        "shift",
        "mix",
        "blank",
        "log_from",
        "log_to",
        "last",
    ]
    fields: dict[str, Any] = {name: form[name] for name in names if name in form}
    fields |= {name: form[name] == "true" for name in ("monitored", "from_log") if name in form}
    fields |= {name: float(form[name]) for name in ("speed", "warm_up") if name in form}
    return fields
