import pytest

from bundle.errors import MissingPackageError
from bundle.packages import folder_in_package, is_in_package


def test_a_folder_of_a_package_is_found() -> None:
    assert is_in_package("package:numpy/linalg")
    assert (folder_in_package("package:numpy/linalg") / "__init__.py").is_file()
    assert not is_in_package("numpy/linalg")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("package:no_such_package/model", "no_such_package is not installed; try `pip install no-such-package`"),
        ("package:numpy/no_such_folder", "numpy has no folder 'no_such_folder'"),
    ],
)
def test_what_is_not_there_is_named(name: str, complaint: str) -> None:
    with pytest.raises(MissingPackageError, match=complaint):
        folder_in_package(name)
