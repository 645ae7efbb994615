"""The type checker of the annotated run: beartype, set such that an int is accepted as a float."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
