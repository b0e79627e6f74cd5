"""Writers killed at random moments leave an intact history that the next writer continues."""

import random
import subprocess
import sys
from pathlib import Path

from registry.history.audit import chain_faults
from registry.history.database import DatabaseAddress
from registry.history.store import History
from tests.crash import kill
from tests.depth import by_depth

WRITER = """
import sys
from pathlib import Path
from registry.history.rows import HistoryRow
from registry.history.store import History
where = sys.argv[1]
history = History(where if "://" in where else Path(where))
for turn in range(1_000_000):
    number = str(turn % 2 + 1)
    history.append("taxi", lambda _: [
        HistoryRow(0, "taxi", "promoted", number, turn, "ann", "champion"),
        HistoryRow(0, "taxi", "promoted", number, turn, "ann", "challenger"),
    ])
    print(turn, flush=True)
"""


def test_a_killed_writer_leaves_whole_changes(where: DatabaseAddress) -> None:
    turns = random.Random(7)
    history = History(where)
    promised = 0
    for _ in range(by_depth(4, 50)):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(where)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert writer.stdout is not None
        for _ in range(turns.randrange(12)):
            assert writer.stdout.readline()
            promised += 1
        kill(writer)
        writer.stdout.close()
        rows = list(history.all_rows())
        assert list(chain_faults(rows)) == []
        assert len(rows) % 2 == 0  # a change is there with both its rows, or not at all
        assert len(rows) >= 2 * promised
        aliases = history.aliases("taxi")
        assert len(set(aliases.values())) <= 1
    assert history.promote("taxi", "champion", "9", time=0, actor="bob") == len(rows) + 1
    history.close()
