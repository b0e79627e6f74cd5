-- The monitor's database. Bodies are JSON of the structs named beside them.

CREATE TABLE IF NOT EXISTS positions (source TEXT PRIMARY KEY, epoch INTEGER, sequence INTEGER);
-- Of monitors that share a log: how far each stream is read and taken in, and the chunks between.
CREATE TABLE IF NOT EXISTS streams (
    stream TEXT PRIMARY KEY, epoch INTEGER, sequence INTEGER, chunks INTEGER NOT NULL DEFAULT 0,
    taken INTEGER NOT NULL DEFAULT 0, ended INTEGER NOT NULL DEFAULT 0, reported INTEGER
);
CREATE TABLE IF NOT EXISTS handed (  -- sharing.entries.Chunk
    stream TEXT, number INTEGER, body BLOB, PRIMARY KEY (stream, number)
);
CREATE TABLE IF NOT EXISTS ledger (source TEXT PRIMARY KEY, body BLOB);  -- SourceLedger
CREATE TABLE IF NOT EXISTS monitored (  -- events taken in, by the minute of their reception
    source TEXT, minute INTEGER, events INTEGER, PRIMARY KEY (source, minute)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS totals (name TEXT PRIMARY KEY, value INTEGER);

CREATE TABLE IF NOT EXISTS watches (  -- core.windows.Watch
    model TEXT, version TEXT, body BLOB, PRIMARY KEY (model, version)
);
CREATE TABLE IF NOT EXISTS windows (  -- core.windows.WindowState
    model TEXT, version TEXT, start INTEGER, body BLOB, PRIMARY KEY (model, version, start)
);

-- Every answered row, so that its label finds it. `hash` is null for rows that came late, which no
-- window holds; `body` (the values in the order of rows.columns) is null for rows outside the
-- window's sample. `time` is the event's own, null where it was not kept yet. `told` is what was
-- predicted, as JSON, to be compared with the label.
CREATE TABLE IF NOT EXISTS predictions (
    prediction_id TEXT, row INTEGER, model TEXT, version TEXT, start INTEGER, hash INTEGER,
    body BLOB, label BLOB, time INTEGER, told BLOB, PRIMARY KEY (prediction_id, row)
) WITHOUT ROWID;
-- Rows come in about the order of their ids, so that this one grows at its end. By their hashes they
-- come in no order: that one holds the samples alone.
CREATE INDEX IF NOT EXISTS predictions_unsampled ON predictions (model, version, start)
    WHERE body IS NULL;
CREATE INDEX IF NOT EXISTS predictions_sampled ON predictions (model, version, start, hash)
    WHERE body IS NOT NULL;
CREATE TABLE IF NOT EXISTS late (  -- by the pane that it came too late for; -1: long ago
    model TEXT, version TEXT, start INTEGER, events INTEGER, rows INTEGER,
    PRIMARY KEY (model, version, start)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS early_labels (  -- whose prediction has not come (yet)
    prediction_id TEXT, row INTEGER, label BLOB, time INTEGER, received INTEGER,
    PRIMARY KEY (prediction_id, row)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS early_labels_received ON early_labels (received);
-- What the log received before is let go: "early_labels" (microseconds), "minutes" (minutes).
CREATE TABLE IF NOT EXISTS horizons (name TEXT PRIMARY KEY, until INTEGER);

CREATE TABLE IF NOT EXISTS jobs (number INTEGER PRIMARY KEY, body BLOB);  -- rows.PendingScore
CREATE TABLE IF NOT EXISTS results (  -- core.results.Result
    model TEXT, version TEXT, start INTEGER, revision INTEGER, body BLOB,
    PRIMARY KEY (model, version, start, revision)
);
CREATE TABLE IF NOT EXISTS closed (  -- core.closed.Closed
    model TEXT, version TEXT, body BLOB, PRIMARY KEY (model, version)
);
CREATE TABLE IF NOT EXISTS streaks (  -- core.decision.Streak
    model TEXT, version TEXT, rule TEXT, body BLOB, PRIMARY KEY (model, version, rule)
);
CREATE TABLE IF NOT EXISTS alarms (alarm_id TEXT PRIMARY KEY, number INTEGER, body BLOB);
CREATE TABLE IF NOT EXISTS silences (silence_id TEXT PRIMARY KEY, body BLOB);  -- core.results.Silence
CREATE TABLE IF NOT EXISTS outbox (
    webhook_id TEXT PRIMARY KEY, body BLOB, created INTEGER, attempts INTEGER, next_attempt INTEGER,
    state TEXT, last_error TEXT
);
CREATE TABLE IF NOT EXISTS disabled_receivers (receiver TEXT PRIMARY KEY, body BLOB);  -- Disabled
CREATE TABLE IF NOT EXISTS dead_letters (
    number INTEGER PRIMARY KEY, origin TEXT, reason TEXT, body BLOB
);
CREATE TABLE IF NOT EXISTS retries (number INTEGER PRIMARY KEY);  -- dead letters to take in again
