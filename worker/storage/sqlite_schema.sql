CREATE TABLE batches (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	"key" VARCHAR(200) NOT NULL,
	name VARCHAR(300) NOT NULL,
	state VARCHAR(10) NOT NULL,
	source TEXT,
	jobs INTEGER DEFAULT 0 NOT NULL,
	created_at VARCHAR(27) NOT NULL,
	sealed_at VARCHAR(27),
	finished_at VARCHAR(27),
	lineage VARCHAR(64),
	recipe JSON,
	max_failures VARCHAR(10),
	pause_code VARCHAR(30),
	pause_reason TEXT,
	deadline VARCHAR(27),
	keep_seconds BIGINT,
	pruned_at VARCHAR(27),
	parent_id BIGINT,
	schedule VARCHAR(100),
	windows JSON,
	closed BOOLEAN DEFAULT false NOT NULL,
	fail_on_cut BOOLEAN DEFAULT false NOT NULL,
	CONSTRAINT ck_batches_state CHECK (state IN ('receiving', 'open', 'paused', 'finished', 'cancelled', 'refused')),
	CONSTRAINT ck_batches_sealed CHECK ((state IN ('receiving', 'refused')) = (sealed_at IS NULL)),
	CONSTRAINT ck_batches_finished CHECK ((state IN ('finished', 'cancelled')) = (finished_at IS NOT NULL)),
	CONSTRAINT uq_batches_key UNIQUE ("key")
);

CREATE INDEX ix_batches_kept ON batches (keep_seconds, finished_at) WHERE pruned_at IS NULL AND finished_at IS NOT NULL;

CREATE INDEX ix_batches_lineage ON batches (lineage, id);

CREATE INDEX ix_batches_parent_id ON batches (parent_id);

CREATE INDEX ix_batches_refused ON batches (keep_seconds, created_at) WHERE pruned_at IS NULL AND state = 'refused';

CREATE INDEX ix_batches_unsettled ON batches (id) WHERE state IN ('open', 'paused');

CREATE INDEX ix_batches_windows ON batches (id) WHERE windows IS NOT NULL AND state IN ('receiving', 'open', 'paused');

CREATE TABLE submission_parts (
	upload VARCHAR(64) NOT NULL,
	number INTEGER NOT NULL,
	lines TEXT NOT NULL,
	received_at VARCHAR(27) NOT NULL,
	CONSTRAINT pk_submission_parts PRIMARY KEY (upload, number)
);

CREATE INDEX ix_submission_parts_received ON submission_parts (received_at);

CREATE TABLE fresh_results (
	job_id BIGINT NOT NULL,
	CONSTRAINT pk_fresh_results PRIMARY KEY (job_id)
);

CREATE TABLE numbered_results (
	number BIGINT NOT NULL,
	job_id BIGINT NOT NULL,
	batch_id BIGINT NOT NULL,
	CONSTRAINT pk_numbered_results PRIMARY KEY (number),
	CONSTRAINT uq_numbered_results_job_id UNIQUE (job_id)
);

CREATE INDEX ix_numbered_results_batch ON numbered_results (batch_id, number);

CREATE TABLE numbering (
	id SMALLINT NOT NULL,
	last BIGINT NOT NULL,
	CONSTRAINT pk_numbering PRIMARY KEY (id),
	CONSTRAINT ck_numbering_single CHECK (id = 1)
);

CREATE TABLE batch_figures (
	batch_id BIGINT NOT NULL,
	results INTEGER DEFAULT 0 NOT NULL,
	succeeded INTEGER DEFAULT 0 NOT NULL,
	failed INTEGER DEFAULT 0 NOT NULL,
	cut INTEGER DEFAULT 0 NOT NULL,
	empty INTEGER DEFAULT 0 NOT NULL,
	unfit INTEGER DEFAULT 0 NOT NULL,
	prompt_tokens BIGINT DEFAULT 0 NOT NULL,
	output_tokens BIGINT DEFAULT 0 NOT NULL,
	eval_seconds FLOAT DEFAULT 0 NOT NULL,
	gpu_seconds FLOAT DEFAULT 0 NOT NULL,
	first_at VARCHAR(27) NOT NULL,
	last_at VARCHAR(27) NOT NULL,
	reused INTEGER DEFAULT 0 NOT NULL,
	CONSTRAINT pk_batch_figures PRIMARY KEY (batch_id)
);

CREATE TABLE model_days (
	day DATE NOT NULL,
	model VARCHAR(400) NOT NULL,
	results INTEGER DEFAULT 0 NOT NULL,
	succeeded INTEGER DEFAULT 0 NOT NULL,
	failed INTEGER DEFAULT 0 NOT NULL,
	cut INTEGER DEFAULT 0 NOT NULL,
	empty INTEGER DEFAULT 0 NOT NULL,
	unfit INTEGER DEFAULT 0 NOT NULL,
	prompt_tokens BIGINT DEFAULT 0 NOT NULL,
	output_tokens BIGINT DEFAULT 0 NOT NULL,
	eval_seconds FLOAT DEFAULT 0 NOT NULL,
	gpu_seconds FLOAT DEFAULT 0 NOT NULL,
	CONSTRAINT pk_model_days PRIMARY KEY (day, model)
);

CREATE TABLE host_hours (
	hour VARCHAR(27) NOT NULL,
	host VARCHAR(100) NOT NULL,
	results INTEGER DEFAULT 0 NOT NULL,
	succeeded INTEGER DEFAULT 0 NOT NULL,
	failed INTEGER DEFAULT 0 NOT NULL,
	cut INTEGER DEFAULT 0 NOT NULL,
	empty INTEGER DEFAULT 0 NOT NULL,
	unfit INTEGER DEFAULT 0 NOT NULL,
	prompt_tokens BIGINT DEFAULT 0 NOT NULL,
	output_tokens BIGINT DEFAULT 0 NOT NULL,
	eval_seconds FLOAT DEFAULT 0 NOT NULL,
	gpu_seconds FLOAT DEFAULT 0 NOT NULL,
	loads INTEGER DEFAULT 0 NOT NULL,
	load_seconds FLOAT DEFAULT 0 NOT NULL,
	CONSTRAINT pk_host_hours PRIMARY KEY (hour, host)
);

CREATE TABLE hour_figures (
	batch_id BIGINT NOT NULL,
	hour VARCHAR(27) NOT NULL,
	model VARCHAR(400) NOT NULL,
	host VARCHAR(100) NOT NULL,
	results INTEGER DEFAULT 0 NOT NULL,
	succeeded INTEGER DEFAULT 0 NOT NULL,
	failed INTEGER DEFAULT 0 NOT NULL,
	cut INTEGER DEFAULT 0 NOT NULL,
	empty INTEGER DEFAULT 0 NOT NULL,
	unfit INTEGER DEFAULT 0 NOT NULL,
	prompt_tokens BIGINT DEFAULT 0 NOT NULL,
	output_tokens BIGINT DEFAULT 0 NOT NULL,
	eval_seconds FLOAT DEFAULT 0 NOT NULL,
	gpu_seconds FLOAT DEFAULT 0 NOT NULL,
	CONSTRAINT pk_hour_figures PRIMARY KEY (batch_id, hour, model, host)
);

CREATE INDEX ix_hour_figures_hour ON hour_figures (hour);

CREATE TABLE hosts (
	name VARCHAR(100) NOT NULL,
	url VARCHAR(500) NOT NULL,
	slots SMALLINT NOT NULL,
	added_at VARCHAR(27) NOT NULL,
	version VARCHAR(50),
	models JSON,
	last_seen_at VARCHAR(27),
	last_claim_at VARCHAR(27),
	error TEXT,
	resident VARCHAR(500),
	intent VARCHAR(500),
	intent_at VARCHAR(27),
	serving_token VARCHAR(32),
	serving_until VARCHAR(27),
	access JSON,
	models_at_once SMALLINT DEFAULT 1 NOT NULL,
	memory BIGINT,
	draining_at VARCHAR(27),
	unreachable_since VARCHAR(27),
	kept BOOLEAN DEFAULT true NOT NULL,
	shared BOOLEAN DEFAULT false NOT NULL,
	slots_told BOOLEAN DEFAULT true NOT NULL,
	intent_until VARCHAR(27),
	intent_starved BOOLEAN DEFAULT false NOT NULL,
	loaded_at VARCHAR(27),
	loaded_seconds FLOAT,
	slow_since VARCHAR(27),
	slow_reason TEXT,
	quarantined_until VARCHAR(27),
	quarantine_reason TEXT,
	quarantines SMALLINT DEFAULT 0 NOT NULL,
	watts FLOAT,
	idle_watts FLOAT,
	windows JSON,
	CONSTRAINT pk_hosts PRIMARY KEY (name),
	CONSTRAINT ck_hosts_slots CHECK (slots >= 1),
	CONSTRAINT ck_hosts_serving CHECK ((serving_token IS NULL) = (serving_until IS NULL))
);

CREATE TABLE fleet (
	id SMALLINT NOT NULL,
	CONSTRAINT pk_fleet PRIMARY KEY (id),
	CONSTRAINT ck_fleet_single CHECK (id = 1)
);

CREATE TABLE runs (
	id INTEGER NOT NULL,
	host VARCHAR(100) NOT NULL,
	runner_key VARCHAR(500) NOT NULL,
	reason TEXT NOT NULL,
	started_at VARCHAR(27) NOT NULL,
	load_seconds FLOAT,
	ended_at VARCHAR(27),
	jobs INTEGER DEFAULT 0 NOT NULL,
	error TEXT,
	CONSTRAINT pk_runs PRIMARY KEY (id)
);

CREATE INDEX ix_runs_host ON runs (host, id);

CREATE INDEX ix_runs_started_at ON runs (started_at);

CREATE TABLE served (
	runner_key VARCHAR(500) NOT NULL,
	priority SMALLINT NOT NULL,
	at VARCHAR(27) NOT NULL,
	batch_id BIGINT,
	batch_at VARCHAR(27),
	CONSTRAINT pk_served PRIMARY KEY (runner_key, priority)
);

CREATE TABLE pulses (
	name VARCHAR(100) NOT NULL,
	at VARCHAR(27) NOT NULL,
	detail JSON,
	CONSTRAINT pk_pulses PRIMARY KEY (name)
);

CREATE TABLE counts (
	batch_id INTEGER NOT NULL,
	runner_key VARCHAR(500) NOT NULL,
	priority SMALLINT NOT NULL,
	state VARCHAR(9) NOT NULL,
	jobs BIGINT NOT NULL,
	CONSTRAINT pk_counts PRIMARY KEY (batch_id, runner_key, priority, state)
);

CREATE INDEX ix_counts_key ON counts (runner_key, priority, state);

CREATE INDEX ix_counts_queued ON counts (runner_key, priority) WHERE state = 'queued';

CREATE TABLE count_deltas (
	id INTEGER NOT NULL,
	batch_id INTEGER NOT NULL,
	runner_key VARCHAR(500) NOT NULL,
	priority SMALLINT NOT NULL,
	state VARCHAR(9) NOT NULL,
	jobs INTEGER NOT NULL,
	CONSTRAINT pk_count_deltas PRIMARY KEY (id)
);

CREATE INDEX ix_count_deltas_batch_id ON count_deltas (batch_id);

CREATE TABLE pruned_counts (
	batch_id BIGINT NOT NULL,
	runner_key VARCHAR(500) NOT NULL,
	priority SMALLINT NOT NULL,
	state VARCHAR(9) NOT NULL,
	jobs BIGINT NOT NULL,
	cut BIGINT DEFAULT 0 NOT NULL,
	empty BIGINT DEFAULT 0 NOT NULL,
	unfit BIGINT DEFAULT 0 NOT NULL,
	CONSTRAINT pk_pruned_counts PRIMARY KEY (batch_id, runner_key, priority, state)
);

CREATE TABLE reusable (
	"key" BLOB NOT NULL,
	digest VARCHAR(80) NOT NULL,
	job_id BIGINT NOT NULL,
	CONSTRAINT pk_reusable PRIMARY KEY ("key", digest)
);

CREATE INDEX ix_reusable_job_id ON reusable (job_id);

CREATE TABLE searching (
	id SMALLINT NOT NULL,
	last BIGINT NOT NULL,
	CONSTRAINT pk_searching PRIMARY KEY (id),
	CONSTRAINT ck_searching_single CHECK (id = 1)
);

CREATE TABLE schedules (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	name VARCHAR(100) NOT NULL,
	version INTEGER DEFAULT 1 NOT NULL,
	spec JSON NOT NULL,
	spec_version SMALLINT NOT NULL,
	next_at VARCHAR(27),
	paused_at VARCHAR(27),
	paused_reason TEXT,
	added_at VARCHAR(27) NOT NULL,
	changed_at VARCHAR(27) NOT NULL,
	CONSTRAINT uq_schedules_name UNIQUE (name)
);

CREATE INDEX ix_schedules_next_at ON schedules (next_at);

CREATE TABLE rejects (
	batch_id INTEGER NOT NULL,
	number INTEGER NOT NULL,
	line INTEGER NOT NULL,
	field VARCHAR(300) NOT NULL,
	code VARCHAR(50) NOT NULL,
	message TEXT NOT NULL,
	CONSTRAINT pk_rejects PRIMARY KEY (batch_id, number),
	CONSTRAINT fk_rejects_batch_id FOREIGN KEY(batch_id) REFERENCES batches (id) ON DELETE CASCADE
);

CREATE TABLE operations (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	batch_id INTEGER,
	verb VARCHAR(10) NOT NULL,
	total INTEGER NOT NULL,
	done INTEGER DEFAULT 0 NOT NULL,
	running INTEGER DEFAULT 0 NOT NULL,
	position BIGINT DEFAULT 0 NOT NULL,
	selection JSON,
	arguments JSON,
	principal VARCHAR(200),
	stops BOOLEAN DEFAULT true NOT NULL,
	created_at VARCHAR(27) NOT NULL,
	ended_at VARCHAR(27),
	error TEXT,
	CONSTRAINT ck_operations_verb CHECK (verb IN ('cancel', 'delete', 'refuse', 'pause', 'resume', 'retry', 'set', 'pull', 'remove', 'copy', 'create', 'push', 'load', 'stop')),
	CONSTRAINT ck_operations_stops CHECK (batch_id IS NOT NULL OR NOT stops),
	CONSTRAINT fk_operations_batch_id FOREIGN KEY(batch_id) REFERENCES batches (id) ON DELETE CASCADE
);

CREATE INDEX ix_operations_batch_id ON operations (batch_id);

CREATE UNIQUE INDEX ix_operations_open ON operations (batch_id) WHERE ended_at IS NULL;

CREATE TABLE host_models (
	host VARCHAR(100) NOT NULL,
	name VARCHAR(700) NOT NULL,
	digest TEXT NOT NULL,
	thinking BOOLEAN NOT NULL,
	trained_context BIGINT,
	size BIGINT NOT NULL,
	vocabulary BIGINT,
	weights TEXT,
	quantization VARCHAR(50),
	parameters VARCHAR(50),
	capabilities JSON,
	CONSTRAINT pk_host_models PRIMARY KEY (host, name),
	CONSTRAINT fk_host_models_host FOREIGN KEY(host) REFERENCES hosts (name) ON DELETE CASCADE
);

CREATE INDEX ix_host_models_name ON host_models (name);

CREATE TABLE residents (
	host VARCHAR(100) NOT NULL,
	runner_key VARCHAR(500) NOT NULL,
	memory BIGINT,
	since VARCHAR(27) NOT NULL,
	CONSTRAINT pk_residents PRIMARY KEY (host, runner_key),
	CONSTRAINT fk_residents_host FOREIGN KEY(host) REFERENCES hosts (name) ON DELETE CASCADE
);

CREATE TABLE blocks (
	host VARCHAR(100) NOT NULL,
	runner_key VARCHAR(500) NOT NULL,
	until VARCHAR(27) NOT NULL,
	failures INTEGER NOT NULL,
	reason TEXT NOT NULL,
	CONSTRAINT pk_blocks PRIMARY KEY (host, runner_key),
	CONSTRAINT fk_blocks_host FOREIGN KEY(host) REFERENCES hosts (name) ON DELETE CASCADE
);

CREATE TABLE paces (
	host VARCHAR(100) NOT NULL,
	runner_key VARCHAR(500) NOT NULL,
	load_seconds FLOAT,
	service_seconds FLOAT,
	at VARCHAR(27) NOT NULL,
	slots SMALLINT,
	memory BIGINT,
	jobs INTEGER DEFAULT 0 NOT NULL,
	CONSTRAINT pk_paces PRIMARY KEY (host, runner_key),
	CONSTRAINT fk_paces_host FOREIGN KEY(host) REFERENCES hosts (name) ON DELETE CASCADE
);

CREATE TABLE jobs (
	id BIGINT NOT NULL,
	batch_id INTEGER NOT NULL,
	custom_id VARCHAR(200) NOT NULL,
	model VARCHAR(400) NOT NULL,
	state VARCHAR(9) NOT NULL,
	priority SMALLINT NOT NULL,
	runner_key VARCHAR(500) NOT NULL,
	prefix_group BIGINT NOT NULL,
	estimate INTEGER NOT NULL,
	submitted_at VARCHAR(27) NOT NULL,
	eligible_at VARCHAR(27),
	deadline VARCHAR(27),
	expires BOOLEAN DEFAULT false NOT NULL,
	attempt INTEGER DEFAULT 0 NOT NULL,
	charged INTEGER DEFAULT 0 NOT NULL,
	losses INTEGER DEFAULT 0 NOT NULL,
	max_attempts INTEGER NOT NULL,
	lease_token VARCHAR(32),
	lease_until VARCHAR(27),
	rescued_token VARCHAR(32),
	host VARCHAR(100),
	cancel_requested_at VARCHAR(27),
	hold_code VARCHAR(30),
	hold_reason TEXT,
	started_at VARCHAR(27),
	finished_at VARCHAR(27),
	widened BOOLEAN DEFAULT false NOT NULL,
	asked BOOLEAN DEFAULT false NOT NULL,
	reuse SMALLINT,
	carries BOOLEAN DEFAULT false NOT NULL,
	followed BOOLEAN DEFAULT false NOT NULL,
	kind VARCHAR(20) DEFAULT 'generate' NOT NULL,
	CONSTRAINT pk_jobs PRIMARY KEY (id),
	CONSTRAINT uq_jobs_batch_id_custom_id_model UNIQUE (batch_id, custom_id, model),
	CONSTRAINT ck_jobs_state CHECK (state IN ('scheduled', 'waiting', 'queued', 'running', 'held', 'succeeded', 'failed', 'cancelled', 'expired')),
	CONSTRAINT ck_jobs_priority CHECK (priority BETWEEN 0 AND 3),
	CONSTRAINT ck_jobs_attempts CHECK (charged >= 0 AND attempt >= charged),
	CONSTRAINT ck_jobs_lease CHECK ((state = 'running') = (lease_token IS NOT NULL)),
	CONSTRAINT ck_jobs_lease_until CHECK ((lease_token IS NULL) = (lease_until IS NULL)),
	CONSTRAINT ck_jobs_finished CHECK ((state IN ('succeeded', 'failed', 'cancelled', 'expired')) = (finished_at IS NOT NULL)),
	CONSTRAINT ck_jobs_held CHECK ((state = 'held') = (hold_code IS NOT NULL)),
	CONSTRAINT fk_jobs_batch_id FOREIGN KEY(batch_id) REFERENCES batches (id)
);

CREATE INDEX ix_jobs_claim ON jobs (runner_key, priority, expires, prefix_group, id) WHERE state = 'queued';

CREATE INDEX ix_jobs_dated ON jobs (runner_key, priority, expires, deadline, prefix_group, id) WHERE state = 'queued' AND deadline IS NOT NULL;

CREATE INDEX ix_jobs_eligible ON jobs (eligible_at) WHERE state = 'scheduled' AND eligible_at IS NOT NULL;

CREATE INDEX ix_jobs_expiring ON jobs (deadline) WHERE expires AND finished_at IS NULL;

CREATE INDEX ix_jobs_followed ON jobs (id) WHERE followed AND finished_at IS NOT NULL;

CREATE INDEX ix_jobs_held ON jobs (batch_id, id) WHERE state = 'held';

CREATE INDEX ix_jobs_lease ON jobs (lease_until) WHERE state = 'running';

CREATE INDEX ix_jobs_reuse ON jobs (model, reuse, id) WHERE state = 'queued' AND reuse IS NOT NULL;

CREATE INDEX ix_jobs_suspects ON jobs (runner_key, priority, id) WHERE state = 'queued' AND losses >= 2;

CREATE INDEX ix_jobs_token ON jobs (lease_token) WHERE state = 'running';

CREATE INDEX ix_jobs_unsealed ON jobs (batch_id, id) WHERE state = 'scheduled' AND eligible_at IS NULL;

CREATE TABLE firings (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	schedule_id INTEGER NOT NULL,
	fire_at VARCHAR(27) NOT NULL,
	by_hand BOOLEAN DEFAULT false NOT NULL,
	version INTEGER NOT NULL,
	state VARCHAR(10) NOT NULL,
	tries SMALLINT DEFAULT 0 NOT NULL,
	token VARCHAR(32),
	token_until VARCHAR(27),
	batch_id INTEGER,
	missed INTEGER DEFAULT 0 NOT NULL,
	began_at VARCHAR(27),
	ended_at VARCHAR(27),
	found INTEGER DEFAULT 0 NOT NULL,
	new INTEGER DEFAULT 0 NOT NULL,
	changed INTEGER DEFAULT 0 NOT NULL,
	retried INTEGER DEFAULT 0 NOT NULL,
	reused INTEGER DEFAULT 0 NOT NULL,
	pending INTEGER DEFAULT 0 NOT NULL,
	gone INTEGER DEFAULT 0 NOT NULL,
	unreadable INTEGER DEFAULT 0 NOT NULL,
	report JSON,
	reason TEXT,
	CONSTRAINT uq_firings_schedule_id_fire_at UNIQUE (schedule_id, fire_at),
	CONSTRAINT ck_firings_state CHECK (state IN ('due', 'queued', 'reading', 'running', 'finished', 'skipped', 'failed')),
	CONSTRAINT ck_firings_token CHECK ((token IS NULL) = (token_until IS NULL)),
	CONSTRAINT ck_firings_ended CHECK ((state IN ('finished', 'skipped', 'failed')) = (ended_at IS NOT NULL)),
	CONSTRAINT fk_firings_schedule_id FOREIGN KEY(schedule_id) REFERENCES schedules (id) ON DELETE CASCADE
);

CREATE INDEX ix_firings_fire_at ON firings (fire_at);

CREATE INDEX ix_firings_open ON firings (schedule_id, fire_at) WHERE ended_at IS NULL;

CREATE TABLE schedule_documents (
	schedule_id INTEGER NOT NULL,
	custom_id VARCHAR(200) NOT NULL,
	model VARCHAR(400) NOT NULL,
	path TEXT NOT NULL,
	sha256 VARCHAR(64),
	fingerprint BLOB,
	firing_id INTEGER NOT NULL,
	change VARCHAR(10) NOT NULL,
	asked_batch INTEGER,
	asked_job BIGINT,
	answered_job BIGINT,
	answered BLOB,
	answered_at VARCHAR(27),
	digest VARCHAR(80),
	first_seen_at VARCHAR(27) NOT NULL,
	last_seen_at VARCHAR(27) NOT NULL,
	gone_at VARCHAR(27),
	error_code VARCHAR(30),
	error_message TEXT,
	error_at VARCHAR(27),
	CONSTRAINT pk_schedule_documents PRIMARY KEY (schedule_id, custom_id, model),
	CONSTRAINT fk_schedule_documents_schedule_id FOREIGN KEY(schedule_id) REFERENCES schedules (id) ON DELETE CASCADE
);

CREATE INDEX ix_schedule_documents_answered_job ON schedule_documents (answered_job);

CREATE INDEX ix_schedule_documents_asked ON schedule_documents (asked_batch, asked_job);

CREATE TABLE operation_parts (
	operation_id INTEGER NOT NULL,
	host VARCHAR(100) NOT NULL,
	model VARCHAR(700) NOT NULL,
	state VARCHAR(10) NOT NULL,
	step VARCHAR(200) DEFAULT '' NOT NULL,
	completed BIGINT DEFAULT 0 NOT NULL,
	total BIGINT DEFAULT 0 NOT NULL,
	tries SMALLINT DEFAULT 0 NOT NULL,
	next_at VARCHAR(27),
	error TEXT,
	digest TEXT,
	changed_at VARCHAR(27) NOT NULL,
	CONSTRAINT pk_operation_parts PRIMARY KEY (operation_id, host, model),
	CONSTRAINT ck_operation_parts_state CHECK (state IN ('waiting', 'working', 'done', 'failed', 'cancelled')),
	CONSTRAINT fk_operation_parts_operation_id FOREIGN KEY(operation_id) REFERENCES operations (id) ON DELETE CASCADE
);

CREATE INDEX ix_operation_parts_open ON operation_parts (host) WHERE state IN ('waiting', 'working');

CREATE TABLE notices (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	batch_id INTEGER,
	firing_id INTEGER,
	channel VARCHAR(10) NOT NULL,
	target VARCHAR(2000) NOT NULL,
	on_what VARCHAR(10) NOT NULL,
	secret VARCHAR(500),
	message_id VARCHAR(64) NOT NULL,
	state VARCHAR(10) NOT NULL,
	tries SMALLINT DEFAULT 0 NOT NULL,
	next_at VARCHAR(27) NOT NULL,
	settled_at VARCHAR(27),
	error TEXT,
	CONSTRAINT ck_notices_state CHECK (state IN ('waiting', 'delivered', 'skipped', 'given_up')),
	CONSTRAINT ck_notices_about CHECK ((batch_id IS NULL) <> (firing_id IS NULL)),
	CONSTRAINT fk_notices_batch_id FOREIGN KEY(batch_id) REFERENCES batches (id) ON DELETE CASCADE,
	CONSTRAINT fk_notices_firing_id FOREIGN KEY(firing_id) REFERENCES firings (id) ON DELETE CASCADE
);

CREATE INDEX ix_notices_batch_id ON notices (batch_id);

CREATE INDEX ix_notices_firing_id ON notices (firing_id);

CREATE INDEX ix_notices_waiting ON notices (next_at) WHERE state = 'waiting';

CREATE TABLE payloads (
	job_id BIGINT NOT NULL,
	prompt TEXT NOT NULL,
	request JSON NOT NULL,
	metadata JSON,
	digest BLOB,
	reuse_key BLOB,
	CONSTRAINT pk_payloads PRIMARY KEY (job_id),
	CONSTRAINT fk_payloads_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);

CREATE TABLE follows (
	job_id BIGINT NOT NULL,
	parent_id BIGINT NOT NULL,
	release BOOLEAN DEFAULT false NOT NULL,
	combines BOOLEAN DEFAULT false NOT NULL,
	CONSTRAINT pk_follows PRIMARY KEY (job_id, parent_id),
	CONSTRAINT fk_follows_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);

CREATE INDEX ix_follows_parent_id ON follows (parent_id);

CREATE TABLE drafts (
	job_id BIGINT NOT NULL,
	text TEXT NOT NULL,
	CONSTRAINT pk_drafts PRIMARY KEY (job_id),
	CONSTRAINT fk_drafts_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);

CREATE TABLE attempts (
	job_id BIGINT NOT NULL,
	attempt INTEGER NOT NULL,
	host VARCHAR(100) NOT NULL,
	run_id INTEGER,
	started_at VARCHAR(27),
	ended_at VARCHAR(27) NOT NULL,
	outcome VARCHAR(10) NOT NULL,
	charged BOOLEAN NOT NULL,
	error_code VARCHAR(30),
	error_message TEXT,
	partial TEXT,
	CONSTRAINT pk_attempts PRIMARY KEY (job_id, attempt),
	CONSTRAINT ck_attempts_outcome CHECK (outcome IN ('succeeded', 'failed', 'retried', 'held', 'cancelled', 'rescued', 'late')),
	CONSTRAINT fk_attempts_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);

CREATE TABLE results (
	job_id BIGINT NOT NULL,
	batch_id INTEGER NOT NULL,
	custom_id VARCHAR(200) NOT NULL,
	model VARCHAR(400) NOT NULL,
	state VARCHAR(9) NOT NULL,
	host VARCHAR(100) NOT NULL,
	digest VARCHAR(80),
	answer TEXT,
	reasoning TEXT,
	reasoning_open BOOLEAN,
	done_reason VARCHAR(30),
	cut BOOLEAN,
	prompt_fit VARCHAR(7),
	error_code VARCHAR(30),
	error_message TEXT,
	prompt_tokens INTEGER,
	output_tokens INTEGER,
	tokens_per_second FLOAT,
	total_seconds FLOAT,
	load_seconds FLOAT,
	prompt_eval_seconds FLOAT,
	eval_seconds FLOAT,
	total_duration BIGINT,
	load_duration BIGINT,
	prompt_eval_duration BIGINT,
	eval_duration BIGINT,
	context BLOB,
	attempts INTEGER NOT NULL,
	finished_at VARCHAR(27) NOT NULL,
	day DATE,
	parsed JSON,
	reused_from BIGINT,
	empty BOOLEAN DEFAULT false NOT NULL,
	logprobs JSON,
	context_length INTEGER,
	tool_calls JSON,
	embedding BLOB,
	created_at VARCHAR(27),
	CONSTRAINT pk_results PRIMARY KEY (job_id),
	CONSTRAINT ck_results_state CHECK (state IN ('succeeded', 'failed')),
	CONSTRAINT ck_results_error CHECK ((state = 'failed') = (error_code IS NOT NULL)),
	CONSTRAINT ck_results_answer CHECK (state = 'failed' OR answer IS NOT NULL),
	CONSTRAINT fk_results_job_id FOREIGN KEY(job_id) REFERENCES jobs (id)
);

CREATE INDEX ix_results_batch_id ON results (batch_id, job_id);

CREATE INDEX ix_results_custom_id ON results (custom_id);

CREATE INDEX ix_results_day ON results (day, job_id);

CREATE INDEX ix_results_failed ON results (batch_id, error_code) WHERE state = 'failed';

CREATE INDEX ix_results_finished_at ON results (finished_at);

CREATE INDEX ix_results_flawed ON results (batch_id, cut, empty, prompt_fit) WHERE state = 'succeeded' AND (cut OR empty OR prompt_fit = 'no');

CREATE TABLE searchable (
	job_id BIGINT NOT NULL,
	tokens TEXT NOT NULL,
	CONSTRAINT pk_searchable PRIMARY KEY (job_id),
	CONSTRAINT fk_searchable_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);

CREATE VIRTUAL TABLE search_index USING fts5(tokens, content='searchable', content_rowid='job_id', tokenize='ascii', detail=none, columnsize=0);

CREATE TRIGGER searchable_new AFTER INSERT ON searchable BEGIN INSERT INTO search_index (rowid, tokens) VALUES (new.job_id, new.tokens); END;

CREATE TRIGGER searchable_gone AFTER DELETE ON searchable BEGIN INSERT INTO search_index (search_index, rowid, tokens) VALUES ('delete', old.job_id, old.tokens); END;

CREATE TRIGGER searchable_changed AFTER UPDATE ON searchable BEGIN INSERT INTO search_index (search_index, rowid, tokens) VALUES ('delete', old.job_id, old.tokens); INSERT INTO search_index (rowid, tokens) VALUES (new.job_id, new.tokens); END;

CREATE TABLE firing_changes (
	firing_id INTEGER NOT NULL,
	custom_id VARCHAR(200) NOT NULL,
	model VARCHAR(400) NOT NULL,
	path TEXT NOT NULL,
	change VARCHAR(10) NOT NULL,
	batch_id BIGINT,
	job_id BIGINT,
	error_code VARCHAR(30),
	CONSTRAINT pk_firing_changes PRIMARY KEY (firing_id, custom_id, model),
	CONSTRAINT uq_firing_changes_batch_id_custom_id_model UNIQUE (batch_id, custom_id, model),
	CONSTRAINT fk_firing_changes_firing_id FOREIGN KEY(firing_id) REFERENCES firings (id) ON DELETE CASCADE
);

CREATE TABLE schedule_answers (
	schedule_id INTEGER NOT NULL,
	custom_id VARCHAR(200) NOT NULL,
	model VARCHAR(400) NOT NULL,
	job_id BIGINT NOT NULL,
	answer TEXT,
	reasoning TEXT,
	parsed JSON,
	prompt_tokens INTEGER,
	output_tokens INTEGER,
	metadata JSON,
	cut BOOLEAN,
	empty BOOLEAN,
	prompt_fit VARCHAR(10),
	CONSTRAINT pk_schedule_answers PRIMARY KEY (schedule_id, custom_id, model),
	CONSTRAINT fk_schedule_answers_document FOREIGN KEY(schedule_id, custom_id, model) REFERENCES schedule_documents (schedule_id, custom_id, model) ON DELETE CASCADE
);

CREATE INDEX ix_schedule_answers_job_id ON schedule_answers (job_id);

INSERT INTO fleet (id) VALUES (1);

INSERT INTO numbering (id, last) VALUES (1, 0);

INSERT INTO searching (id, last) VALUES (1, 0);

