"""The planted bugs: a text that stands exactly once in its file, what replaces it, and the test that fails then.

The tests are those of the asynchronous layer, so that a bug below ``nexgent_db/aio`` needs no ``make sync``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Mutation:
    """One bug: what is wrong, where, and the test that catches it, as pytest names it."""

    bug: str
    path: str
    old: str
    new: str
    test: str

    def mutated(self, text: str) -> str:
        """The file's text with the bug. Raises ValueError unless the old text stands in it exactly once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.path}: {text.count(self.old)} times, not once: {self.old!r}")
        return text.replace(self.old, self.new)

    @property
    def test_name(self) -> str:
        """The test's function."""
        return self.test.partition("::")[2]


_STEPS: Final = "migrations/20261124100000_trade_steps.sql"
_SELL: Final = "migrations/20261124100400_trade_sell.sql"
_TRADES: Final = "tests/integration/aio/test_trades.py"
_WRITE: Final = "nexgent_db/cache/lua/write.lua"

MUTATIONS: Final = (
    # --- Locks ---------------------------------------------------------------------------------------
    Mutation(
        "a trade does not lock its wallet",
        _STEPS,
        "    FOR KEY SHARE OF a\n    FOR NO KEY UPDATE OF w;\n    IF NOT FOUND THEN\n",
        "    FOR KEY SHARE OF a;\n    IF NOT FOUND THEN\n",
        "tests/integration/test_trade_lock_waits.py::test_trades_of_one_wallet_in_different_tokens_run_one_after_another",
    ),
    Mutation(
        "a trade does not lock the balance that it checks",
        _STEPS,
        "        WHERE b.wallet_address = p_wallet_address AND b.token_address = token\n        FOR NO KEY UPDATE;",
        "        WHERE b.wallet_address = p_wallet_address AND b.token_address = token;",
        "tests/integration/test_trade_lock_waits.py::test_trade_waits_for_writer_without_wallet_lock",
    ),
    Mutation(
        "a batch locks its wallets in no order",
        _STEPS,
        '    ORDER BY w.wallet_address COLLATE "C"\n    FOR NO KEY UPDATE OF w;',
        "    ORDER BY random()\n    FOR NO KEY UPDATE OF w;",
        "tests/integration/aio/test_execute_many.py::test_batches_and_singles_do_not_deadlock",
    ),
    Mutation(
        "an order expires by the clock before its wait for the lock",
        _STEPS,
        "    IF clock_timestamp() >= p_expires_at THEN",
        "    IF now() >= p_expires_at THEN",
        "tests/integration/test_delayed_orders.py::test_order_waiting_past_expiry_is_rejected",
    ),
    # --- Repetitions ---------------------------------------------------------------------------------
    Mutation(
        "a repeated order is not recognised",
        _STEPS,
        "    IF known_digest = p_content_digest THEN",
        "    IF false THEN",
        "tests/integration/test_trade_failpoints.py"
        "::test_order_killed_while_its_commit_is_confirmed_returns_its_first_result",
    ),
    Mutation(
        "another order of a used id gets the first one's result",
        _STEPS,
        "    IF known_digest = p_content_digest THEN",
        "    IF known_digest IS NOT NULL THEN",
        f"{_TRADES}::test_same_id_with_other_content_is_conflict",
    ),
    Mutation(
        "a transaction on the chain is recorded twice",
        _STEPS,
        "            AND t.transaction_hash = p_transaction_hash\n",
        "            AND t.transaction_hash = p_transaction_hash AND false\n",
        f"{_TRADES}::test_on_chain_transaction_is_recorded_once_per_wallet",
    ),
    Mutation(
        "a repetition returns today's balances for the first result's",
        _STEPS,
        "    trade.balances := request.balances;",
        "    trade.balances := ARRAY(\n"
        "        SELECT b.balance FROM unnest(request.balance_ids) WITH ORDINALITY AS i (id, place)\n"
        "        JOIN agent_balances AS b ON b.id = i.id ORDER BY i.place\n"
        "    );",
        f"{_TRADES}::test_repeated_order_returns_first_result_after_later_trades",
    ),
    Mutation(
        "fees are no part of an order's content",
        "nexgent_db/queries/trade_results.py",
        '_NOT_CONTENT: Final = ("request_id", "expires_at")',
        '_NOT_CONTENT: Final = ("request_id", "expires_at", "network_fee_sol")',
        f"{_TRADES}::test_same_id_with_other_content_is_conflict",
    ),
    Mutation(
        "a write whose answer was lost is sent again by the package",
        "nexgent_db/aio/session.py",
        "                if not isinstance(translated, SchemaChanged):\n"
        "                    raise translated from error\n"
        "                return await self._run_anew",
        '                if type(translated).__name__ == "ConnectionLost":\n'
        "                    return await self.run(bound, call)\n"
        "                if not isinstance(translated, SchemaChanged):\n"
        "                    raise translated from error\n"
        "                return await self._run_anew",
        "tests/integration/aio/test_database.py::test_write_of_lost_connection_is_not_sent_again",
    ),
    Mutation(
        "a transaction is retried after any error",
        "nexgent_db/aio/database.py",
        "            except (TransactionConflict, ConnectionLost):",
        "            except Exception:",
        "tests/integration/aio/test_database.py::test_run_transaction_does_not_retry_other_errors",
    ),
    # --- Amounts -------------------------------------------------------------------------------------
    Mutation(
        "the last lamport of a balance cannot be spent",
        _STEPS,
        "        IF coalesce(balance, 0) + change < 0 THEN",
        "        IF coalesce(balance, 0) + change <= 0 THEN",
        f"{_TRADES}::test_burn_of_all_leaves_zero",
    ),
    Mutation(
        "quotients are cut off, not rounded",
        "migrations/20261123091100_trade_arithmetic.sql",
        "    2 * abs(numerator) * power(10::numeric, decimals) + denominator,",
        "    2 * abs(numerator) * power(10::numeric, decimals),",
        "tests/integration/test_schema.py::test_ratio_is_correctly_rounded_to_its_last_digit",
    ),
    Mutation(
        "more is sold than the position holds",
        _SELL,
        "    ELSIF left_over < 0 THEN",
        "    ELSIF left_over < -1 THEN",
        f"{_TRADES}::test_oversell_changes_nothing",
    ),
    Mutation(
        "a sale forgets its network fee in the profit",
        _SELL,
        "p_sol_amount - coalesce(p_protocol_fee_sol, 0) - coalesce(p_network_fee_sol, 0);",
        "p_sol_amount - coalesce(p_protocol_fee_sol, 0);",
        f"{_TRADES}::test_take_profit_reduces_position_and_realises_profit",
    ),
    Mutation(
        "a DCA buy forgets its fees in what was invested",
        "migrations/20261124100300_trade_dca_buy.sql",
        "        total_invested_sol = p.total_invested_sol + spent_sol,",
        "        total_invested_sol = p.total_invested_sol + p_sol_amount,",
        f"{_TRADES}::test_dca_buy_averages_price_over_total_invested",
    ),
    Mutation(
        "a closed position forgets the profit of its take-profits",
        "migrations/20261124100350_close_position.sql",
        "    profit_sol numeric := held.realized_profit_sol + closing.realized_profit_sol;",
        "    profit_sol numeric := closing.realized_profit_sol;",
        f"{_TRADES}::test_sell_closes_position_with_profit_of_all_sales",
    ),
    Mutation(
        "a sale up to dust empties a balance with other tokens in it",
        _SELL,
        "            IF abs(p_token_amount - in_wallet) <= dust THEN",
        "            IF true THEN",
        "tests/integration/aio/test_sales_up_to_dust.py::test_tokens_beside_position_stay_in_wallet",
    ),
    Mutation(
        "a reset leaves small holdings",
        "migrations/20261124100500_trade_reset_wallet.sql",
        "            WHERE b.wallet_address = p_wallet_address AND b.balance > 0",
        "            WHERE b.wallet_address = p_wallet_address AND b.balance > 1",
        f"{_TRADES}::test_reset_burns_holdings_and_deposits_opening_sol",
    ),
    Mutation(
        "an amount with too many decimals is rounded",
        "nexgent_db/models/base.py",
        '            raise ValueError(f"{_shown(number)} has more than {self.scale} decimals")',
        "            return round(number, self.scale)",
        f"{_TRADES}::test_order_with_inexact_amount_is_refused",
    ),
    # --- Rights --------------------------------------------------------------------------------------
    Mutation(
        "a user trades with the wallets of all users",
        _STEPS,
        "OR user_id = coalesce(",
        "OR user_id IS NOT NULL OR user_id = coalesce(",
        "tests/integration/aio/test_tenants.py::test_trade_with_wallet_of_other_user_finds_no_wallet",
    ),
    Mutation(
        "a setting names another user for trades than the login does",
        _STEPS,
        "substring(session_user::text FROM '_user_([0-9a-f]{32})$')::uuid,",
        "nullif(current_setting('nexgent.user_id', true), '')::uuid,",
        "tests/integration/test_user_logins.py::test_wallets_of_other_users_do_not_trade",
    ),
    Mutation(
        "a policy of the tenants has no USING",
        "sql/roles.sql",
        "                ('agent_balances', own_agent, NULL),",
        "                ('agent_balances', 'true', own_agent),",
        "tests/integration/aio/test_tenants.py::test_no_method_reads_or_changes_rows_of_other_user",
    ),
    Mutation(
        "the ledger can be changed",
        "migrations/20261124100600_protect_transactions.sql",
        "    IF FOUND THEN\n        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;",
        "    IF true THEN\n        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;",
        "tests/integration/test_trade_functions.py::test_ledger_is_append_only_for_its_owner_too",
    ),
    # --- Cache ---------------------------------------------------------------------------------------
    Mutation(
        "a trade leaves no row in the outbox",
        _STEPS,
        "    INSERT INTO cache_outbox (\n"
        "        version, entity, deleted, agent_id, wallet_address, token_addresses, position_ids, position_tokens\n"
        "    )\n    VALUES (",
        "    PERFORM ROW(",
        "tests/integration/test_trade_functions.py::test_trade_leaves_one_outbox_row_and_takes_one_version",
    ),
    Mutation(
        "a slow reader fills the cache with an older version",
        _WRITE,
        "    if late or below_fence(row) then\n        return\n    end\n    local payload",
        "    if late then\n        return\n    end\n    local payload",
        "tests/integration/aio/test_cache_races.py::test_evicted_row_is_not_replaced_by_older_one",
    ),
    Mutation(
        "a fill replaces a newer cached row",
        _WRITE,
        "    if not cached or not newer(cached, row.version) or payload == row.replaced then",
        "    if true then",
        "tests/integration/aio/test_cache_races.py::test_row_with_evicted_fence_is_not_replaced_by_older_one",
    ),
    Mutation(
        "a process trusts the cache although its own commit was not applied",
        "nexgent_db/aio/cache/writer.py",
        "            client.breaker.add_unapplied_write()\n",
        "",
        "tests/integration/aio/test_cache_own_changes.py::test_unreadable_changes_are_left_to_outbox",
    ),
    Mutation(
        "the relay ignores the entry that empties the cache",
        "nexgent_db/aio/cache/relay.py",
        '            if any(change.entity == "everything" for change, *_ in changes):',
        "            if False:",
        "tests/integration/aio/test_cache_maintenance.py::test_outbox_compacted_without_cache_empties_later_cache",
    ),
    Mutation(
        "the local cache keeps answers that the server reports as changed",
        "nexgent_db/cache/local_store.py",
        "                for answer in tuple(self._answers_of_key.get(str(key), ())):\n"
        "                    self._drop(answer)\n",
        "                pass\n",
        "tests/integration/aio/test_local_cache.py::test_reported_change_of_another_process_is_read",
    ),
    # --- Connections ---------------------------------------------------------------------------------
    Mutation(
        "a connection whose settings were changed goes back to the pool",
        "nexgent_db/aio/connection.py",
        "        return self.state is _ACQUIRED and self.has_first_settings()",
        "        return self.state is _ACQUIRED",
        "tests/integration/aio/test_connection.py::test_release_of_changed_connection_closes_it",
    ),
)


def documented() -> list[str]:
    """The rows of the table in docs/pages/architecture/proofs.md."""
    return [f"| {each.bug} | `{each.path}` | `{each.test_name}` |" for each in MUTATIONS]
