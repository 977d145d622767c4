"""Prints as JSON what Delta's own library reads of the table in the folder of the first argument.

The other arguments are streams, whose numbers are asked for. `removed` is what its VACUUM would delete
if nothing had to be kept.
"""

import json
import os.path
import sys

from deltalake import DeltaTable


def main():
    table = DeltaTable(sys.argv[1])
    metadata, protocol = table.metadata(), table.protocol()
    removed = table.vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False)
    read = {
        "version": table.version(),
        "id": metadata.id,
        "configuration": metadata.configuration,
        "protocol": [protocol.min_reader_version, protocol.min_writer_version],
        "schema": json.loads(table.schema().to_json()),
        "files": sorted(os.path.basename(uri) for uri in table.file_uris()),
        "rows": sum(row["num_records"] for row in table.get_add_actions(flatten=True).to_struct_array().to_pylist()),
        "numbers": {stream: table.transaction_version(stream) for stream in sys.argv[2:]},
        "removed": sorted(os.path.basename(path) for path in removed),
    }
    json.dump(read, sys.stdout, sort_keys=True)


if __name__ == "__main__":
    main()
