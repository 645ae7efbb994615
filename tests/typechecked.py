"""The type checker of the annotated run: beartype, for which a whole number is a number, as for other type checkers."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
