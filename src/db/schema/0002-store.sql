-- Migration 2: the store whose blobs these rows name.

CREATE TABLE store (
    id TEXT PRIMARY KEY                 -- of its store.json; one row once a server has started
);
