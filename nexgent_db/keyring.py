"""The wallets' private keys: from the environment into memory, and nowhere else.

An ed25519 key of Solana is 64 bytes: the private seed, 32, and the public key, 32, whose base58 is the address.
PyNaCl derives the public key from the seed: it completes a key that is given as its seed, and shows that the two halves
of another belong together. Nothing is signed here.
PyNaCl and base58 are the extra ``keys``; a process without keys needs neither.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NoReturn, SupportsIndex, TypeVar, final

from nexgent_db.errors import ConfigurationError, WalletKeyMissing

T = TypeVar("T")

_VARIABLE: Final = re.compile(r"WALLET_([1-9][0-9]{0,5})")
_KEY_BYTES: Final = 64
_SEED_BYTES: Final = 32
_LOG: Final = logging.getLogger("nexgent_db.keyring")
_LONGEST_TEXT: Final = 1000
"""64 numbers with generous spaces; more is not read at all."""


@final
class WalletKeyring:
    """The keys of WALLET_1, WALLET_2, …, each under its wallet's address. ``WalletKeyring()`` has none.

    A key is handed to the function given to :meth:`use`, and shown nowhere else: it is in no repr, error, log or
    ``vars()``, and a keyring is neither copied nor pickled. Safe to share: it does not change.
    """

    __slots__ = ("_addresses", "_look_up", "_skipped")

    def __init__(self) -> None:
        self._addresses: tuple[str, ...] = ()
        self._skipped: tuple[str, ...] = ()
        self._look_up = _closed({})

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, *, skip_malformed: bool = False) -> WalletKeyring:
        """The keys of the numbered variables of ``environ``, by default the process's. Gaps and empty ones are skipped.

        A key is a base58 string or a JSON array of 64 bytes: private seed, then public key; or a base58 string of 32
        bytes, the private seed. Raises ConfigurationError, which shows no part of a key: when there are keys and the
        extra ``keys`` is not installed; else it names every variable at fault: neither base58 nor a JSON array; not of
        that length; a public half that is not the private half's; a key that an earlier variable holds.

        With ``skip_malformed`` the variables at fault are left out: :attr:`skipped` names them, and each is logged as a
        warning. An address in the place of a key has 32 bytes, as a seed has: compare :attr:`addresses` with the
        wallets that you expect.
        """
        keys, problems = _read(os.environ if environ is None else environ)
        del environ  # a tool that prints the locals of an error's frames must find no key in this one
        if problems and not (skip_malformed and _has_libraries()):
            del keys
            raise ConfigurationError("; ".join(problems))
        for problem in problems:
            _LOG.warning("a wallet's key is skipped: %s", problem)
        keyring = cls()
        keyring._skipped = tuple(problems)
        keyring._addresses = tuple(keys)
        keyring._look_up = _closed(keys)
        return keyring

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of the wallets whose keys are here, in the order of the variables' numbers."""
        return self._addresses

    @property
    def skipped(self) -> tuple[str, ...]:
        """Which variables were left out as malformed, and why; no part of a key."""
        return self._skipped

    def use(self, wallet_address: str, function: Callable[[bytes], T]) -> T:
        """What ``function`` makes of the wallet's 64 bytes: private seed, then public key. It must not keep them.

        Raises WalletKeyMissing, else what the function raises.
        """
        if wallet_address not in self._addresses:
            raise WalletKeyMissing(wallet_address, len(self._addresses))
        return function(self._look_up(wallet_address))

    def __contains__(self, wallet_address: object) -> bool:
        return wallet_address in self._addresses

    def __iter__(self) -> Iterator[str]:
        return iter(self._addresses)

    def __len__(self) -> int:
        return len(self._addresses)

    def __repr__(self) -> str:
        return f"<WalletKeyring {', '.join(self._addresses) or 'without keys'}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a WalletKeyring is neither copied nor pickled: private keys stay where they are")

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        self.__reduce__()

    def __getstate__(self) -> NoReturn:
        self.__reduce__()


def _closed(keys: dict[str, bytes]) -> Callable[[str], bytes]:
    """A function over the keys: unlike a bound method or a dictionary, its repr does not show them."""

    def look_up(wallet_address: str) -> bytes:
        return keys[wallet_address]

    return look_up


def _read(environ: Mapping[str, str]) -> tuple[dict[str, bytes], list[str]]:
    """The keys by address, and the problems. Raises nothing: an error's frames and context would carry the text."""
    numbers = sorted(int(match[1]) for name in environ if (match := _VARIABLE.fullmatch(name)))
    keys: dict[str, bytes] = {}
    variables: dict[str, str] = {}
    problems: list[str] = []
    names = [name for number in numbers if environ[name := f"WALLET_{number}"].strip()]
    if names and not _has_libraries():
        return {}, [f"{names[0]} holds a key, and reading keys needs the extra 'keys': pip install 'nexgent-db[keys]'"]
    for variable in names:
        text = environ[variable].strip()
        key = _bytes_of(text)
        if key is not None and len(key) == _SEED_BYTES and not text.startswith("["):
            key += _public_key(key)
        if key is None:
            problems.append(f"{variable} is neither base58 nor a JSON array of bytes")
        elif len(key) != _KEY_BYTES:
            problems.append(f"{variable} holds {len(key)} bytes, not the {_KEY_BYTES} of a key pair")
        elif _public_key(key[:_SEED_BYTES]) != key[_SEED_BYTES:]:
            problems.append(f"{variable}: the public half is not that of the private half")
        elif (address := _base58(key[_SEED_BYTES:])) in keys:
            problems.append(f"{variable} repeats the key of {variables[address]}")
        else:
            keys[address] = key
            variables[address] = variable
    return keys, problems


def _bytes_of(text: str) -> bytes | None:
    if len(text) > _LONGEST_TEXT:
        return None
    if not text.startswith("["):
        return _bytes_of_base58(text)
    try:
        numbers = json.loads(text)
        fine = isinstance(numbers, list) and all(type(number) is int and 0 <= number < 256 for number in numbers)
        return bytes(numbers) if fine else None
    except (ValueError, RecursionError):
        return None


# --- The extra ----------------------------------------------------------------------------------


def _has_libraries() -> bool:
    """Whether the extra ``keys`` is installed. The imports below are in functions, because only keys need it."""
    try:
        import base58  # noqa: F401
        import nacl.signing  # noqa: F401
    except ImportError:
        return False
    return True


def _base58(data: bytes) -> str:
    """Base58 as Bitcoin and Solana write it: a leading zero byte is a leading ``1``."""
    from base58 import b58encode

    return b58encode(data).decode()


def _bytes_of_base58(text: str) -> bytes | None:
    """The bytes of a base58 text; None when it is not base58."""
    from base58 import b58decode

    try:
        return b58decode(text)
    except ValueError:
        return None


def _public_key(seed: bytes) -> bytes:
    """The ed25519 public key, 32 bytes, of a private seed of 32 bytes, as libsodium derives it."""
    from nacl.signing import SigningKey

    return bytes(SigningKey(seed).verify_key)
