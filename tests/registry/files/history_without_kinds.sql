-- A registry file as releases until 0.2.0 wrote it: `.dump` of registry.db.
BEGIN TRANSACTION;
CREATE TABLE moves (
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    number TEXT NOT NULL,
    moved INTEGER NOT NULL,
    actor TEXT NOT NULL,
    detail TEXT NOT NULL DEFAULT ''
);
INSERT INTO "moves" VALUES(1,'flights','','1',1700000060000000,'ada','');
INSERT INTO "moves" VALUES(2,'flights','champion','1',1700000120000000,'ada','');
INSERT INTO "moves" VALUES(3,'flights','=','',1700000180000000,'ada','{"max_requests":5,"max_wait_ms":9}');
INSERT INTO "moves" VALUES(4,'flights','~','',1700000240000000,'ada','{"stated":{"alarms":{"min_rows":7}},"why":"quiet nights"}');
INSERT INTO "moves" VALUES(5,'flights','','2',1700000300000000,'bob','');
INSERT INTO "moves" VALUES(6,'flights','challenger','2',1700000360000000,'bob','');
INSERT INTO "moves" VALUES(7,'flights','=','2',1700000420000000,'bob','{"max_requests":7}');
INSERT INTO "moves" VALUES(8,'flights','champion','2',1700000480000000,'bob','');
INSERT INTO "moves" VALUES(9,'flights','-','1',1700000540000000,'bob','');
INSERT INTO "moves" VALUES(10,'trains','','1',1700000600000000,'','');
INSERT INTO "moves" VALUES(11,'trains','-','',1700000660000000,'','');
INSERT INTO "moves" VALUES(12,'trains','+','1',1700000720000000,'cyd','');
INSERT INTO "moves" VALUES(13,'flights','~','2',1700000780000000,'bob','{"why":"as trained"}');
INSERT INTO "moves" VALUES(14,'flights','=','1',1700000840000000,'bob','{}');
INSERT INTO "moves" VALUES(15,'flights','champion','1',1700000900000000,'ada','');
CREATE INDEX moves_by_alias ON moves (model, alias, revision);
CREATE TRIGGER moves_are_kept BEFORE DELETE ON moves
    BEGIN SELECT RAISE(ABORT, 'the history of moves is append-only'); END;
CREATE TRIGGER moves_are_final BEFORE UPDATE ON moves
    BEGIN SELECT RAISE(ABORT, 'the history of moves is append-only'); END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('moves',15);
COMMIT;
