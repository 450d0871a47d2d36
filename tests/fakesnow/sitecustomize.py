"""Lets dlt load into fakesnow: rewrites the statements that fakesnow 0.12 does not accept.

Python imports this at its start, as the directory is in PYTHONPATH. Everything else is what dlt
sends to Snowflake.
"""

import re
from typing import Any

from dlt.common.destination import DestinationCapabilitiesContext
from dlt.destinations.impl.snowflake.factory import snowflake
from dlt.destinations.impl.snowflake.sql_client import SnowflakeSqlClient

_capabilities = snowflake._raw_capabilities
_execute = SnowflakeSqlClient.execute_query


def _capabilities_of_fakesnow(self: snowflake) -> DestinationCapabilitiesContext:
    found = _capabilities(self)
    found.supports_multiple_statements = False
    found.preferred_loader_file_format = "parquet"  # of the state of dlt, which is JSON otherwise
    return found


def _execute_in_fakesnow(self: SnowflakeSqlClient, query: str, *args: Any, **named: Any) -> Any:
    if query.startswith(("PUT", "COPY")):
        query = re.sub(r"'(@[^']*)'", lambda stage: stage[1].replace('"', ""), query)
        query = re.sub(r"FILE_FORMAT = .*", lambda options: options[0].replace(",", ""), query)
        query = query.replace("'CASE_INSENSITIVE'", "CASE_INSENSITIVE")
    return _execute(self, query, *args, **named)


snowflake._raw_capabilities = _capabilities_of_fakesnow  # type: ignore[method-assign]
SnowflakeSqlClient.execute_query = _execute_in_fakesnow  # type: ignore[method-assign,assignment]
