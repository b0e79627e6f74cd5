BEGIN TRANSACTION;
CREATE TABLE history (
	revision INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	number TEXT NOT NULL, 
	time INTEGER NOT NULL, 
	actor TEXT NOT NULL, 
	alias TEXT NOT NULL, 
	detail TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	why TEXT NOT NULL, 
	evidence TEXT NOT NULL, 
	chain TEXT NOT NULL, 
	PRIMARY KEY (revision)
);
INSERT INTO "history" VALUES(1,'newest','registered','1',1700000000000000,'ann','','','newest1','','','5cdc2415d3fbc2058b9a8dd250bc11be3b50c7e080d6d21b5dfd44458b1dcde4');
INSERT INTO "history" VALUES(2,'newest','registered','2',1700000000000000,'ann','','','newest2','','','e0573b96f6fbcb8c54a0f246292024fdd31a80ff41e4cdc9cdaaf6fb1ffe2395');
INSERT INTO "history" VALUES(3,'newest','registered','3',1700000000000000,'ann','','','newest3','','','a6e84a5504e94e0091c8f8415004999bf8158206780fc351fccf3e7262cdc041');
INSERT INTO "history" VALUES(4,'newest','unloaded','3',1700000000000000,'bob','','','','','','06472871dbada915800f38ae2f664eed9f170e5980967a5625b7086e0cc09fb7');
INSERT INTO "history" VALUES(5,'first','registered','1',1700000000000000,'ann','','{"files":{"model.onnx":"ab"},"champion_only":true}','first1','','','1a6184b31a2df6b4d162b52be83c84bec61f20a5d5835e6138586a61dd566e56');
INSERT INTO "history" VALUES(6,'first','registered','2',1700000000000000,'ann','','{"files":{"model.onnx":"ab"},"champion_only":true}','first2','','','3325ea5824659aa396db741f4473e080ee2678880e959a70d5581393a85f2c8c');
INSERT INTO "history" VALUES(7,'mixed','registered','1',1700000000000000,'ann','','','mixed1','','','75c4f5223180cedae2df4826aa316eb6f8bf32c2a46cc127041b089b8b743fb5');
INSERT INTO "history" VALUES(8,'mixed','registered','2',1700000000000000,'ann','','{"files":{"model.onnx":"ab"},"champion_only":true}','mixed2','','','fe3cdcb98e882b148745da486d06748fbfc777ffe69d48ca5b730a8c7a74edac');
INSERT INTO "history" VALUES(9,'named','registered','1',1700000000000000,'ann','','{"files":{"model.onnx":"ab"},"champion_only":true}','named1','','','8544c904aff5f055b4617c3ff3c8d64fc0860623dcc0b55b114b352dda7b2929');
INSERT INTO "history" VALUES(10,'named','registered','2',1700000000000000,'ann','','{"files":{"model.onnx":"ab"},"champion_only":true}','named2','','','f1cd754c42809dea1cc88a839f3ead935d547501b11fe7dede059020f3a1b93c');
INSERT INTO "history" VALUES(11,'named','promoted','2',1700000000000000,'bob','champion','','','','','4b9ef24195072eecada8e274a9a0f892ee59e07894e26c33a291fa57b216dbc4');
INSERT INTO "history" VALUES(12,'guarded','registered','1',1700000000000000,'ann','','{"files":{"model.onnx":"ab"},"champion_only":true}','guarded1','','','171b7236f33d7f5ada5f7a5362a2d676dc359900363040e82450e15310f466fc');
INSERT INTO "history" VALUES(13,'guarded','release_policy','',1700000000000000,'ann','','{"approvals":{"champion":{}}}','','','','3e401fcd8b3feafc175cede16a2836d855aa39ce19763ae3515439c59f337bcc');
INSERT INTO "history" VALUES(14,'barred','registered','1',1700000000000000,'ann','','','barred1','','','30f5fb1fb6770f2d84d58cdfdc73d14725e51bfe2493b988ecd286f9a1443fe1');
INSERT INTO "history" VALUES(15,'barred','registered','2',1700000000000000,'ann','','','barred2','','','a4df52e9ec0b3f6b80153e17177c7092fef9ce365e00c85309e292771558e20d');
INSERT INTO "history" VALUES(16,'barred','barred','2',1700000000000000,'ann','','','barred2','','','869d946d136e40c1841421ef75b1cabfda7494d85c27f12f5f20b6da402cb68b');
INSERT INTO "history" VALUES(17,'never','unloaded','1',1700000000000000,'ann','','','','','','8c6665f85ef1cb9c8c4856d3d6a27af4f27a8336ba72a5690aaf48b6ec8cad74');
INSERT INTO "history" VALUES(18,'many','registered','1',1700000000000000,'ann','','','many1','','','7c9df007da6eaf2b7495c7336990fb0ad6d4c9285660e32285988f8a74a7b4d0');
INSERT INTO "history" VALUES(19,'many','registered','2',1700000000000000,'ann','','','many2','','','014afefa79ac5f4ec8e565a01aaf6461f43feeaf2150186f11ddb48cc0d987d2');
INSERT INTO "history" VALUES(20,'many','registered','3',1700000000000000,'ann','','','many3','','','df0310fe58bd2dbb598a09281493b65cb808d916c97de90a2da4e8d17c10d2fb');
INSERT INTO "history" VALUES(21,'many','registered','4',1700000000000000,'ann','','','many4','','','d11e8b180f18738fa5e928c01d87e814078d5c75e00fab2a4925b91ec622df3d');
INSERT INTO "history" VALUES(22,'many','registered','5',1700000000000000,'ann','','','many5','','','66a22829405e9d87ea42e768f38acdc247f77748df8656caef7469b032c180f8');
INSERT INTO "history" VALUES(23,'many','registered','6',1700000000000000,'ann','','','many6','','','60ccfffc5c2dc428cd6df8c28c00aa6eb65af1bd42dae9a9992a1c005251df6f');
INSERT INTO "history" VALUES(24,'many','registered','7',1700000000000000,'ann','','','many7','','','35b05a803c5474766894c5338fac4a8c0664f393e3abb632e67ac2d93bff672c');
INSERT INTO "history" VALUES(25,'many','registered','8',1700000000000000,'ann','','','many8','','','5324d8302b2121c53f5d0bde976241395ca2fff62c581ce3fe10ccd4809c77f2');
INSERT INTO "history" VALUES(26,'many','registered','9',1700000000000000,'ann','','','many9','','','686bd636eca86801349ead5ea72d45e210a02c2f41516f33432bcc04198faf87');
INSERT INTO "history" VALUES(27,'many','registered','10',1700000000000000,'ann','','','many10','','','a7e2464e1f4792d6f2766ae9943361865280838c85a79a050c47ad13aaaafebd');
INSERT INTO "history" VALUES(28,'many','registered','11',1700000000000000,'ann','','','many11','','','6a2d07482b11eb13fbb8b628da5d81736dfaba47193c72acabef6853ac10b035');
CREATE TABLE registry_revision (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT registry_revision_pkc PRIMARY KEY (version_num)
);
INSERT INTO "registry_revision" VALUES('0002');
CREATE TABLE workers (
	worker TEXT NOT NULL, 
	seen INTEGER NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (worker)
);
CREATE INDEX history_by_model ON history (model, revision);
CREATE INDEX history_by_kind ON history (kind, model);
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
CREATE TRIGGER history_no_delete BEFORE DELETE ON history BEGIN SELECT RAISE(ABORT, 'the registry history is append-only'); END;
CREATE TRIGGER history_no_update BEFORE UPDATE ON history BEGIN SELECT RAISE(ABORT, 'the registry history is append-only'); END;
COMMIT;
PRAGMA user_version = 3;
