//! The end-to-end tests, one binary. `make test` provides the broker and DuckDB that they need.

// In reading order.
mod places;
mod ledger; // commits, fencing, damage, dangerous settings
mod compaction; // many small files into few
mod index; // which rows repeat an id, through crashes and damage
mod seal; // hashes, trees, proofs: vectors, a second implementation, tampering
mod verify; // everything recomputed, bit flips, and a signer that signs one history
mod controls; // what records say of each meter, and who compares it
mod properties; // what must not matter to a charge
mod totals; // rows folded once, against every row
mod gaps; // what may be missing, and which rows are not read for it
mod stories; // attribution, and the mistakes of other systems, event by event
mod explain; // from a charge back to its events, and a run that was changed
mod reader; // what a customer is shown of an explanation
mod doctor; // a look at a ledger, by totals and by rows, and at every bit
mod past; // what another catalog changes in what was billed
mod month; // the month of tests/cases/month from files: the contract
mod mistakes; // what whoever sends has done wrong, and how it is mended
mod nobody; // whose money it is, in which currency, and what is nobody's
mod kafka; // the same month through a broker, and what goes wrong there
mod tried; // prices without a ledger
mod truncation; // a partition that lost what was read from it, and what the doctor sees of a topic
mod broker_faults; // damage, open transactions, and brokers that nobody can talk to
mod metrics; // what a running ingest tells Prometheus
mod version; // which commit a binary is built from
mod docs; // the README's commands and what they print
mod image; // the Dockerfile
mod tables_page; // docs/tables.md, column by column
mod duckdb; // the exports as an analyst reads them
mod oracle; // random months, computed a second time by a program that shares no code
mod invoice; // files of providers, and what they come to
mod close; // invoices, decisions, a close and what is corrected later
mod pages; // what people look at, in a browser and on paper
mod federation; // three installations in a chain
mod at_once; // two people, or a person and a program, at the same ledger at the same moment
mod invoice_map; // what texts of invoices may mean
mod status; // the running month, and what limits say of it
mod query; // questions in SQL, and what they cannot reach
mod price; // what a quantity costs, by model
mod allocation; // who bears how much of a cost line
mod catalog; // what a catalog may not say
mod pieces; // what commands add to a catalog: scaffolds, and prices from the open list
mod catalog_page; // docs/catalog.md, key by key
mod hostile; // what an attacker sends: records through a broker, files, and what they cost
mod cookbook; // the pages of docs/cookbook, run
mod forecast; // what a running month may come to
mod what_if; // a month by another catalog
mod secrets; // nothing that a run leaves has a secret in it
mod terminal; // what is printed cannot steer a terminal
mod decoding; // which records are refused, and why
mod avro_schemas; // which schemas can be read, and why others cannot
mod cases; // the files under tests/cases that the ones above read
mod edges; // which crate may use what
mod files; // which file may use which
mod tidy; // banned words, files that nothing reaches
