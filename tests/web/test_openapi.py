"""The service keeps to what its OpenAPI description says."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS

from dermseg.inference.segmenter import Segmenter
from dermseg.web.app import create_app

schema = schemathesis.openapi.from_asgi(
    "/v1/openapi.json", create_app(Segmenter()), headers={"Host": "127.0.0.1"}
)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # schemathesis brings its own
@schema.parametrize()
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_contract(case: schemathesis.Case) -> None:
    case.headers["Host"] = "127.0.0.1"
    # Random bytes fit the schema of a photograph, and are refused all the same.
    case.call_and_validate(excluded_checks=CHECKS.get_by_names(["positive_data_acceptance"]))
