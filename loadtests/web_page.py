"""Extensions of locust's web page: a list of models, and a check of the form before a load."""

import sys
from argparse import Namespace
from typing import Any

from flask import Response, jsonify, request

from eventlog.errors import DriftlineError
from eventlog.settings import Home
from loadtests.traffic import Traffic
from registry.store import Registry


def listed_models() -> list[str] | None:
    """Return the models that the form offers; None if any name is accepted.

    Without the page, names are not restricted here, because the load reports an unknown model.
    """
    if {"--headless", "--worker"} & set(sys.argv):
        return None
    try:
        names = Registry(Home.from_environment()).models()
    except (DriftlineError, OSError):
        return None  # reported when the load starts
    return ["", *names] if names else None


def check_forms(environment: Any) -> None:
    """Reply to a form with the reason if its load cannot run; locust keeps running."""

    @environment.web_ui.app.before_request
    def check() -> Response | None:
        if request.method != "POST" or not request.path.endswith("/swarm"):
            return None
        options = {**vars(environment.parsed_options), **_form_options(request.form)}
        try:
            Traffic(Registry(Home.from_environment()), Namespace(**options))
        except DriftlineError as error:
            return jsonify({"success": False, "message": str(error), "host": environment.host})
        return None


def _form_options(form: Any) -> dict[str, Any]:
    """Return the form's options that determine the requests."""
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
