"""The keyring: the keys that it accepts and refuses; it never shows a key."""

from __future__ import annotations

import copy
import inspect
import json
import logging
import pickle
import sys
import traceback
from collections.abc import Callable

import pytest

from nexgent_db import WalletKeyring
from nexgent_db.errors import ConfigurationError, WalletKeyMissing
from nexgent_db.keyring import _base58, _bytes_of_base58, _public_key

# RFC 8032, 7.1: tests 1 to 3 and SHA(abc).
VECTORS = {
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60": (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    ),
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb": (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    ),
    "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7": (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
    ),
    "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42": (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf"
    ),
}
KEYS = [bytes.fromhex(seed + public) for seed, public in VECTORS.items()]
ADDRESSES = [_base58(key[32:]) for key in KEYS]


def as_base58(key: bytes) -> str:
    return _base58(key)


def as_array(key: bytes) -> str:
    return json.dumps(list(key))


def identity(key: bytes) -> bytes:
    return key


@pytest.mark.parametrize(("seed", "public"), VECTORS.items())
def test_public_keys_match_standard(seed: str, public: str) -> None:
    assert _public_key(bytes.fromhex(seed)).hex() == public


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"Hello World!", "2NEpo7TZRRrLZSi2U"),
        (bytes.fromhex("0000287fb4cd"), "11233QC4"),
        (bytes(32), "1" * 32),
        (b"", ""),
    ],
)
def test_base58_matches_draft_in_both_directions(data: bytes, text: str) -> None:
    assert _base58(data) == text
    assert _bytes_of_base58(text) == data


# --- Accepted -----------------------------------------------------------------------------------


@pytest.mark.parametrize("written", [as_base58, as_array])
def test_key_is_read_and_its_address_derived(written: Callable[[bytes], str]) -> None:
    keyring = WalletKeyring.from_env({"WALLET_1": f" {written(KEYS[0])}\n"})
    assert keyring.addresses == (ADDRESSES[0],)
    assert ADDRESSES[0] in keyring
    assert ADDRESSES[1] not in keyring
    assert len(keyring) == 1
    assert keyring.use(ADDRESSES[0], identity) == KEYS[0]


def test_seed_in_base58_is_read_as_its_key_pair() -> None:
    environ = {f"WALLET_{number}": as_base58(key[:32]) for number, key in enumerate(KEYS, 1)}
    keyring = WalletKeyring.from_env(environ)
    assert list(keyring) == ADDRESSES
    assert [keyring.use(address, identity) for address in keyring] == KEYS
    assert keyring.skipped == ()


def test_seed_repeats_its_key_pair() -> None:
    error = refused({"WALLET_1": as_base58(KEYS[0]), "WALLET_2": as_base58(KEYS[0][:32])})
    assert str(error) == "WALLET_2 repeats the key of WALLET_1"


def test_keys_are_ordered_by_number_and_other_variables_are_ignored() -> None:
    environ = {
        "WALLET_10": as_array(KEYS[2]),
        "WALLET_2": as_base58(KEYS[1]),
        "WALLET_1": as_base58(KEYS[0]),
        "WALLET_3": "  ",
        "WALLET_ADDRESS": "x",
        "MY_WALLET_1": "x",
        "WALLET_1_OLD": "x",
    }
    assert list(WalletKeyring.from_env(environ)) == ADDRESSES[:3]


def test_default_environment_is_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALLET_7", as_base58(KEYS[3]))
    assert WalletKeyring.from_env().addresses == (ADDRESSES[3],)


def test_keyring_may_be_empty() -> None:
    assert WalletKeyring.from_env({}).addresses == WalletKeyring().addresses == ()


# --- Refused ------------------------------------------------------------------------------------

WRONG_HALF = KEYS[0][:32] + KEYS[1][32:]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (as_base58(KEYS[0])[:-1] + "0", "is neither base58 nor a JSON array of bytes"),
        (as_base58(KEYS[0])[:-1] + "é", "is neither base58 nor a JSON array of bytes"),
        ("1" * 10_000, "is neither base58 nor a JSON array of bytes"),
        (as_array(KEYS[0])[:-1], "is neither base58 nor a JSON array of bytes"),
        ("[" * 1_999, "is neither base58 nor a JSON array of bytes"),
        (" ".join(as_array(KEYS[0])) + " " * 2_000 + "x", "is neither base58 nor a JSON array of bytes"),
        (json.dumps([*KEYS[0][:63], 256]), "is neither base58 nor a JSON array of bytes"),
        (json.dumps([*KEYS[0][:63], -1]), "is neither base58 nor a JSON array of bytes"),
        (json.dumps([*KEYS[0][:63], True]), "is neither base58 nor a JSON array of bytes"),
        (json.dumps([*KEYS[0][:63], 1.0]), "is neither base58 nor a JSON array of bytes"),
        (json.dumps([*KEYS[0][:63], "1"]), "is neither base58 nor a JSON array of bytes"),
        (as_array(KEYS[0][:32]), "holds 32 bytes, not the 64 of a key pair"),
        (as_base58(KEYS[0][:31]), "holds 31 bytes, not the 64 of a key pair"),
        (as_base58(KEYS[0][:33]), "holds 33 bytes, not the 64 of a key pair"),
        (as_array(KEYS[0][:63]), "holds 63 bytes, not the 64 of a key pair"),
        (as_array(KEYS[0] + b"\1"), "holds 65 bytes, not the 64 of a key pair"),
        (as_base58(WRONG_HALF), "the public half is not that of the private half"),
        (as_array(WRONG_HALF), "the public half is not that of the private half"),
    ],
)
def test_invalid_key_pair_is_refused_by_name_without_value(text: str, problem: str) -> None:
    error = refused({"WALLET_1": as_base58(KEYS[2]), "WALLET_3": text})
    assert str(error).startswith("WALLET_3")
    assert str(error).endswith(problem)
    assert_nothing_shown(error, text, as_base58(KEYS[2]))


def test_every_invalid_variable_is_named() -> None:
    twice = {"WALLET_1": as_base58(KEYS[0]), "WALLET_2": "?", "WALLET_3": as_array(KEYS[0]), "WALLET_4": "[]"}
    error = refused(twice)
    assert str(error).split("; ") == [
        "WALLET_2 is neither base58 nor a JSON array of bytes",
        "WALLET_3 repeats the key of WALLET_1",
        "WALLET_4 holds 0 bytes, not the 64 of a key pair",
    ]
    assert_nothing_shown(error, as_base58(KEYS[0]), as_array(KEYS[0]))


def test_malformed_keys_are_skipped_on_request_and_reported_by_name(caplog: pytest.LogCaptureFixture) -> None:
    environ = {
        "WALLET_1": as_base58(KEYS[0])[:-1] + "0",
        "WALLET_2": as_base58(KEYS[1]),
        "WALLET_3": as_array(WRONG_HALF),
        "WALLET_4": as_array(KEYS[1]),
        "WALLET_5": as_base58(KEYS[2]),
    }
    with caplog.at_level(logging.DEBUG):
        keyring = WalletKeyring.from_env(environ, skip_malformed=True)
    assert list(keyring) == ADDRESSES[1:3]
    assert [keyring.use(address, identity) for address in keyring] == KEYS[1:3]
    assert keyring.skipped == (
        "WALLET_1 is neither base58 nor a JSON array of bytes",
        "WALLET_3: the public half is not that of the private half",
        "WALLET_4 repeats the key of WALLET_2",
    )
    warnings = [(record.name, record.levelname, record.getMessage()) for record in caplog.records]
    assert warnings == [
        ("nexgent_db.keyring", "WARNING", f"a wallet's key is skipped: {problem}") for problem in keyring.skipped
    ]
    for shown in (caplog.text, repr(keyring), repr(keyring.skipped), repr(inspect.getmembers(keyring))):
        for text in environ.values():
            assert text not in shown
        for key in (*KEYS, WRONG_HALF):
            assert_hidden(shown, key)


def test_only_malformed_keys_leave_an_empty_keyring() -> None:
    keyring = WalletKeyring.from_env({"WALLET_1": "?"}, skip_malformed=True)
    assert keyring.addresses == ()
    assert keyring.skipped == ("WALLET_1 is neither base58 nor a JSON array of bytes",)
    assert WalletKeyring().skipped == ()


def test_wallet_without_key_is_refused() -> None:
    keyring = WalletKeyring.from_env({"WALLET_1": as_base58(KEYS[0])})
    with pytest.raises(WalletKeyMissing, match=f"none of the 1 keys .* {ADDRESSES[1]}"):
        keyring.use(ADDRESSES[1], identity)


def test_key_in_place_of_address_is_not_shown() -> None:
    keyring = WalletKeyring.from_env({"WALLET_1": as_base58(KEYS[0])})
    with pytest.raises(WalletKeyMissing) as refusal:
        keyring.use(as_base58(KEYS[0]), identity)
    assert_hidden(f"{refusal.value!r} {vars(refusal.value)}", KEYS[0])


def refused(environ: dict[str, str]) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as refusal:
        WalletKeyring.from_env(environ)
    return refusal.value


def assert_nothing_shown(error: BaseException, *texts: str) -> None:
    """No key is in the error, in its causes, or in the locals of the package's frames."""
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = f"{error!r} {error} {vars(error)}" + "".join(traceback.format_exception(error))
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if "nexgent_db" in frame.f_code.co_filename]
    assert frames
    shown += "".join(repr(value) for frame in frames[-1:] for value in frame.f_locals.values())
    for text in texts:
        assert len(text) < 8 or text not in shown
    for key in KEYS:
        assert_hidden(shown, key)


@pytest.mark.parametrize("missing", ["base58", "nacl.signing"])
def test_keys_without_the_extra_are_refused_by_its_name(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    text = as_array(KEYS[0])
    error = refused({"WALLET_2": " ", "WALLET_5": text})
    assert str(error) == (
        "WALLET_5 holds a key, and reading keys needs the extra 'keys': pip install 'nexgent-db[keys]'"
    )
    assert error.__cause__ is None
    assert error.__context__ is None
    assert text not in "".join(traceback.format_exception(error))
    with pytest.raises(ConfigurationError, match="needs the extra 'keys'"):  # which is no malformed key
        WalletKeyring.from_env({"WALLET_5": text}, skip_malformed=True)


@pytest.mark.parametrize("missing", ["base58", "nacl.signing"])
def test_no_keys_need_no_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    assert WalletKeyring.from_env({"WALLET_2": " "}).addresses == WalletKeyring().addresses == ()


# --- Hidden -------------------------------------------------------------------------------------


def assert_hidden(shown: str, key: bytes) -> None:
    seed = key[:32]
    for secret in (key, seed):
        for text in (_base58(secret), secret.hex(), repr(secret), str(list(secret)), json.dumps(list(secret))):
            assert text not in shown


def test_keyring_reveals_no_key(caplog: pytest.LogCaptureFixture) -> None:
    keyring = WalletKeyring.from_env({"WALLET_1": as_base58(KEYS[0])})
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").info("%s %r", keyring, keyring)
    members = inspect.getmembers(keyring)
    for shown in (repr(keyring), str(keyring), f"{keyring}", repr([keyring]), repr(members), caplog.text):
        assert_hidden(shown, KEYS[0])
    assert repr(keyring) == f"<WalletKeyring {ADDRESSES[0]}>"
    with pytest.raises(TypeError, match="__dict__"):
        vars(keyring)
    with pytest.raises(TypeError):
        json.dumps(keyring)


@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        *(lambda keyring, protocol=protocol: pickle.dumps(keyring, protocol) for protocol in range(6)),
        lambda keyring: pickle.dumps({"keyring": keyring}),
        lambda keyring: keyring.__getstate__(),
        lambda keyring: keyring.__reduce__(),
    ],
)
def test_keyring_refuses_copy_and_pickle(copied: Callable[[WalletKeyring], object]) -> None:
    keyring = WalletKeyring.from_env({"WALLET_1": as_base58(KEYS[0])})
    with pytest.raises(TypeError) as refusal:
        copied(keyring)
    assert_hidden(str(refusal.value), KEYS[0])


def test_error_while_signing_has_no_key() -> None:
    keyring = WalletKeyring.from_env({"WALLET_1": as_base58(KEYS[0])})

    def fail(_: bytes) -> None:
        raise LookupError("no network")

    with pytest.raises(LookupError, match="no network") as failure:
        keyring.use(ADDRESSES[0], fail)
    frames = [frame for frame, _ in traceback.walk_tb(failure.tb) if frame.f_code.co_name == "use"]
    assert frames
    assert_hidden(repr([frame.f_locals for frame in frames]), KEYS[0])
