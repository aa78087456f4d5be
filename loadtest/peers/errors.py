"""Why a system is not measured. Knows no system."""


class AbsentError(Exception):
    """The system cannot be installed, started, or does not answer as it should; the message is what the record says."""


class PreparationError(Exception):
    """Nothing can be measured at all; the message names what is missing and how to get it."""
