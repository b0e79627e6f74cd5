"""What the settings and the key file say about who may call, when the service starts."""

from collections.abc import Callable

from access.authorizer import Authorizer
from access.errors import AccessError
from access.exposure import check_exposure, is_loopback
from access.keyfile import KeyFile
from eventlog.settings import Home
from service.settings import PREFIX, Settings


def check_start(settings: Settings, home: Home) -> None:
    """Raise SettingError where the service would be open to more than its settings say."""
    keys = KeyFile.of(home).read()
    check_exposure(
        settings.host,
        PREFIX,
        credentials=keys is not None,
        allow_anonymous=settings.allow_anonymous,
    )


def create_authorizer(
    settings: Settings, home: Home, refused: Callable[[AccessError], None]
) -> Authorizer:
    """The authorizer of one worker, on the keys of the home; raises SettingError."""
    return Authorizer(
        KeyFile.of(home),
        open_without_keys=is_loopback(settings.host) or settings.allow_anonymous,
        refused=refused,
    )
