"""Driftline's public face: the client and the `driftline` command."""

from driftline.client import AsyncClient, Client, ClientError, Prediction

__all__ = ["AsyncClient", "Client", "ClientError", "Prediction"]
