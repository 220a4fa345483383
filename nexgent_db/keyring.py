"""The wallets' private keys: from the environment into memory, and nowhere else.

An ed25519 key of Solana is 64 bytes: the private seed, 32, and the public key, 32, whose base58 is the address. The
public key is derived here in plain Python, after RFC 8032, section 5.1.5, to see that the two halves belong together.
That takes milliseconds and not always the same: it is done at start-up only, and nothing is signed with it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha512
from typing import Final, NoReturn, SupportsIndex, TypeVar, final

from nexgent_db.errors import ConfigurationError, WalletKeyMissing

T = TypeVar("T")

_VARIABLE: Final = re.compile(r"WALLET_([1-9][0-9]{0,5})")
_KEY_BYTES: Final = 64
_SEED_BYTES: Final = 32
_LONGEST_TEXT: Final = 1000
"""64 numbers with generous spaces; more is not read at all."""


@final
class WalletKeyring:
    """The keys of WALLET_1, WALLET_2, …, each under its wallet's address. ``WalletKeyring()`` has none.

    A key is handed to the function given to :meth:`use`, and shown nowhere else: it stands in no repr, error, log or
    ``vars()``, and a keyring is neither copied nor pickled. Safe to share: it does not change.
    """

    __slots__ = ("_addresses", "_look_up")

    def __init__(self) -> None:
        self._addresses: tuple[str, ...] = ()
        self._look_up = _closed({})

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> WalletKeyring:
        """The keys of the numbered variables of ``environ``, by default the process's. Gaps and empty ones are skipped.

        A key is a base58 string or a JSON array of 64 bytes: private seed, then public key. Raises ConfigurationError,
        which names every variable at fault and shows nothing of what is in it: what is neither of the two; not 64
        bytes; a public half that is not the private half's; a key that is there already.
        """
        keys, problems = _read(os.environ if environ is None else environ)
        del environ  # who prints the locals of an error's frames shall find no key in ours
        if problems:
            del keys
            raise ConfigurationError("; ".join(problems))
        keyring = cls()
        keyring._addresses = tuple(keys)
        keyring._look_up = _closed(keys)
        return keyring

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of the wallets whose keys are here, in the order of the variables' numbers."""
        return self._addresses

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
    """The keys by address, and what is wrong. Raises nothing: an error's frames and context would carry the text."""
    numbers = sorted(int(found[1]) for name in environ if (found := _VARIABLE.fullmatch(name)))
    keys: dict[str, bytes] = {}
    variables: dict[str, str] = {}
    problems: list[str] = []
    for variable in (f"WALLET_{number}" for number in numbers):
        text = environ[variable].strip()
        if not text:
            continue
        key = _bytes_of(text)
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
    except ValueError:
        return None


# --- Base58 -------------------------------------------------------------------------------------

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS: Final = {character: value for value, character in enumerate(_ALPHABET)}


def _base58(data: bytes) -> str:
    """Base58 as Bitcoin and Solana write it: a leading zero byte is a leading ``1``."""
    number = int.from_bytes(data, "big")
    text = ""
    while number:
        number, digit = divmod(number, 58)
        text = _ALPHABET[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def _bytes_of_base58(text: str) -> bytes | None:
    """The bytes that ``text`` stands for; None when it is not base58."""
    number = 0
    for character in text:
        digit = _DIGITS.get(character)
        if digit is None:
            return None
        number = number * 58 + digit
    return b"\0" * (len(text) - len(text.lstrip("1"))) + number.to_bytes((number.bit_length() + 7) // 8, "big")


# --- Ed25519 (RFC 8032): the public key of a private one ----------------------------------------

_Point = tuple[int, int, int, int]  # extended homogeneous coordinates: x = X/Z, y = Y/Z, x·y = T/Z

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_BASE_Y: Final = 4 * pow(5, -1, _P) % _P
_BASE_X: Final = 15112221349535400772501151409588531511454012693041857206046113283949847762202
_BASE: Final[_Point] = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % _P)


def _sum(one: _Point, other: _Point) -> _Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c = 2 * one[3] * other[3] * _D % _P
    d = 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _public_key(seed: bytes) -> bytes:
    """The ed25519 public key, 32 bytes, of a private seed of 32 bytes."""
    scalar = int.from_bytes(sha512(seed).digest()[:32], "little")
    scalar = scalar & ((1 << 254) - 8) | (1 << 254)
    point: _Point = (0, 1, 1, 0)
    doubled = _BASE
    while scalar:
        if scalar & 1:
            point = _sum(point, doubled)
        doubled = _sum(doubled, doubled)
        scalar >>= 1
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")
