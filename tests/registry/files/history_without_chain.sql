-- A registry file as release 0.2.0 and its successors without a chain wrote it: `.dump`.
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE history (
        revision INTEGER PRIMARY KEY AUTOINCREMENT,
        model TEXT NOT NULL,
        kind TEXT NOT NULL,
        alias TEXT NOT NULL DEFAULT '',
        number TEXT NOT NULL DEFAULT '',
        time INTEGER NOT NULL,
        actor TEXT NOT NULL DEFAULT '',
        detail TEXT NOT NULL DEFAULT ''
    );
INSERT INTO "history" VALUES(1,'flights','registered','','1',1700000060000000,'ada','');
INSERT INTO "history" VALUES(2,'flights','promoted','champion','1',1700000120000000,'ada','');
INSERT INTO "history" VALUES(3,'flights','limits','','',1700000180000000,'ada','{"max_requests":5,"max_wait_ms":9}');
INSERT INTO "history" VALUES(4,'flights','policy','','',1700000240000000,'ada','{"stated":{"alarms":{"min_rows":7}},"why":"quiet nights"}');
INSERT INTO "history" VALUES(5,'flights','registered','','2',1700000300000000,'bob','');
INSERT INTO "history" VALUES(6,'flights','promoted','challenger','2',1700000360000000,'bob','');
INSERT INTO "history" VALUES(7,'flights','limits','','2',1700000420000000,'bob','{"max_requests":7}');
INSERT INTO "history" VALUES(8,'flights','promoted','champion','2',1700000480000000,'bob','');
INSERT INTO "history" VALUES(9,'flights','unloaded','','1',1700000540000000,'bob','');
INSERT INTO "history" VALUES(10,'trains','registered','','1',1700000600000000,'','');
INSERT INTO "history" VALUES(11,'trains','unloaded','','',1700000660000000,'','');
INSERT INTO "history" VALUES(12,'trains','loaded','','1',1700000720000000,'cyd','');
INSERT INTO "history" VALUES(13,'flights','policy','','2',1700000780000000,'bob','{"why":"as trained"}');
INSERT INTO "history" VALUES(14,'flights','limits','','1',1700000840000000,'bob','{}');
INSERT INTO "history" VALUES(15,'flights','promoted','champion','1',1700000900000000,'ada','');
INSERT INTO "history" VALUES(16,'trains','baseline','','1',5,'monitor','{"origin":"learned","digest":"ab","start":1,"end":2,"rows":3}');
CREATE INDEX history_by_model ON history (model, kind, revision);
CREATE TRIGGER history_rows_are_not_deleted BEFORE DELETE ON history
        BEGIN SELECT RAISE(ABORT, 'the registry history is append-only'); END;
CREATE TRIGGER history_rows_are_not_updated BEFORE UPDATE ON history
        BEGIN SELECT RAISE(ABORT, 'the registry history is append-only'); END;
CREATE VIEW moves AS
    SELECT
        revision,
        model,
        CASE kind
            WHEN 'loaded' THEN '+'
            WHEN 'unloaded' THEN '-'
            WHEN 'limits' THEN '='
            WHEN 'policy' THEN '~'
            ELSE alias
        END AS alias,
        number,
        time AS moved,
        actor,
        detail
    FROM history;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('history',16);
COMMIT;
