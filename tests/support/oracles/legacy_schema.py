"""The schema after the public system's 18 migrations, from SCHEMA.md and not from the migrations."""

from __future__ import annotations

import re

from nexgent_db.schema.catalog import Catalog, Column, Index, Sequence, Table

# One column a line: name, type, "null" if it may be, "= default".
COLUMNS = {
    "users": """
        id                            uuid
        email                         varchar(255)
        password_hash                 varchar(255)   null
        created_at                    timestamptz    = CURRENT_TIMESTAMP
        failed_login_attempts         integer        = 0
        locked_until                  timestamptz    null
    """,
    "agents": """
        id                            uuid
        user_id                       uuid
        name                          varchar(255)
        trading_mode                  varchar(20)    = 'simulation'::character varying
        trading_config                jsonb          null
        created_at                    timestamptz    = CURRENT_TIMESTAMP
        updated_at                    timestamptz
        automated_trading_simulation  boolean        = true
        automated_trading_live        boolean        = true
    """,
    "agent_wallets": """
        wallet_address                varchar(44)
        agent_id                      uuid
        wallet_type                   varchar(20)
        created_at                    timestamptz    = CURRENT_TIMESTAMP
        updated_at                    timestamptz
    """,
    "agent_balances": """
        id                            uuid
        agent_id                      uuid
        wallet_address                varchar(44)
        token_address                 varchar(255)
        token_symbol                  varchar(20)
        balance                       text
        last_updated                  timestamptz
    """,
    "trading_signals": """
        id                            integer        = nextval('trading_signals_id_seq'::regclass)
        created_at                    timestamptz    = CURRENT_TIMESTAMP
        updated_at                    timestamptz
        token_address                 varchar(255)
        symbol                        varchar(50)    null
        signal_type                   varchar(50)
        activation_reason             text           null
        signal_strength               integer
        source                        varchar(100)   null
        user_id                       uuid           null
    """,
    "signal_executions": """
        id                            uuid
        signal_id                     integer
        agent_id                      uuid
        status                        varchar(20)
        transaction_id                uuid           null
        error                         text           null
        executed_at                   timestamptz    = CURRENT_TIMESTAMP
    """,
    "agent_transactions": """
        id                            uuid
        agent_id                      uuid
        wallet_address                varchar(44)    null
        transaction_type              "TransactionType"
        transaction_value_usd         numeric(20,8)
        transaction_time              timestamptz
        destination_address           varchar(255)   null
        signal_id                     integer        null
        fees                          numeric(20,8)  null
        routes                        jsonb          null
        input_mint                    varchar(255)   null
        input_symbol                  varchar(20)    null
        input_amount                  numeric(30,18) null
        input_price                   numeric(30,18) null
        output_mint                   varchar(255)   null
        output_symbol                 varchar(20)    null
        output_amount                 numeric(30,18) null
        output_price                  numeric(30,18) null
        slippage                      numeric(10,4)  null
        price_impact                  numeric(10,4)  null
        is_dca                        boolean        = false
        transaction_hash              varchar(255)   null
        created_at                    timestamptz    = CURRENT_TIMESTAMP
        updated_at                    timestamptz
        swap_payload                  jsonb          null
        is_take_profit                boolean        = false
        protocol_fee_sol              numeric(20,8)  null
        network_fee_sol               numeric(20,8)  null
    """,
    "agent_historical_swaps": """
        id                            uuid
        agent_id                      uuid
        wallet_address                varchar(44)    null
        token_address                 varchar(255)
        token_symbol                  varchar(20)
        amount                        numeric(30,18)
        purchase_price                numeric(30,18)
        sale_price                    numeric(30,18)
        change_percent                numeric(10,4)
        profit_loss_usd               numeric(20,8)
        profit_loss_sol               numeric(20,8)
        purchase_time                 timestamptz
        sale_time                     timestamptz
        purchase_transaction_id       uuid           null
        sale_transaction_id           uuid           null
        signal_id                     integer        null
        created_at                    timestamptz    = CURRENT_TIMESTAMP
        close_reason                  varchar(20)    null
    """,
    "agent_positions": """
        id                            uuid
        agent_id                      uuid
        wallet_address                varchar(44)
        token_address                 varchar(255)
        token_symbol                  varchar(20)
        purchase_transaction_id       uuid
        purchase_price                numeric(30,18)
        purchase_amount               numeric(30,18)
        current_stop_loss_percentage  numeric(5,2)   null
        peak_price                    numeric(30,18) null
        last_stop_loss_update         timestamptz    null
        created_at                    timestamptz    = CURRENT_TIMESTAMP
        updated_at                    timestamptz
        dca_count                     integer        = 0
        dca_transaction_ids           text[]         null = ARRAY[]::text[]
        last_dca_time                 timestamptz    null
        lowest_price                  numeric(30,18) null
        total_invested_sol            numeric(20,8)  = 0
        remaining_amount              numeric(30,18) null
        take_profit_levels_hit        integer        = 0
        take_profit_transaction_ids   text[]         = '{}'::text[]
        last_take_profit_time         timestamptz    null
        moon_bag_activated            boolean        = false
        moon_bag_amount               numeric(30,18) null
        realized_profit_sol           numeric(20,8)  = 0
        tp_batch_start_level          integer        = 0
        total_take_profit_levels      integer        null
    """,
    "agent_balance_snapshots": """
        id                            uuid
        agent_id                      uuid
        snapshot_timestamp            timestamptz
        portfolio_balance_sol         numeric(20,8)
        sol_balance                   numeric(20,8)
        positions_value_sol           numeric(20,8)
        unrealized_pnl_sol            numeric(20,8)
        created_at                    timestamptz    = CURRENT_TIMESTAMP
        updated_at                    timestamptz
        wallet_address                varchar(44)
    """,
    "api_keys": """
        id                            uuid
        user_id                       uuid
        name                          varchar(100)
        key_hash                      varchar(255)
        key_prefix                    varchar(12)
        scopes                        text[]         null = ARRAY[]::text[]
        created_at                    timestamptz(6) = CURRENT_TIMESTAMP
    """,
}

# table: column -> what it refers to, and what happens when that is deleted.
FOREIGN_KEYS = {
    "agents": {"user_id": "users(id) CASCADE"},
    "api_keys": {"user_id": "users(id) CASCADE"},
    "trading_signals": {"user_id": "users(id) SET NULL"},
    "agent_wallets": {"agent_id": "agents(id) CASCADE"},
    "agent_balances": {
        "agent_id": "agents(id) CASCADE",
        "wallet_address": "agent_wallets(wallet_address) CASCADE",
    },
    "agent_balance_snapshots": {
        "agent_id": "agents(id) CASCADE",
        "wallet_address": "agent_wallets(wallet_address) CASCADE",
    },
    "agent_positions": {
        "agent_id": "agents(id) CASCADE",
        "wallet_address": "agent_wallets(wallet_address) CASCADE",
        "purchase_transaction_id": "agent_transactions(id) CASCADE",
    },
    "agent_transactions": {
        "agent_id": "agents(id) CASCADE",
        "wallet_address": "agent_wallets(wallet_address) CASCADE",
        "signal_id": "trading_signals(id) SET NULL",
    },
    "signal_executions": {
        "agent_id": "agents(id) CASCADE",
        "signal_id": "trading_signals(id) CASCADE",
        "transaction_id": "agent_transactions(id) SET NULL",
    },
    "agent_historical_swaps": {
        "agent_id": "agents(id) CASCADE",
        "wallet_address": "agent_wallets(wallet_address) CASCADE",
        "purchase_transaction_id": "agent_transactions(id) SET NULL",
        "sale_transaction_id": "agent_transactions(id) SET NULL",
        "signal_id": "trading_signals(id) SET NULL",
    },
}

UNIQUE = {
    "users": ["email"],
    "agent_wallets": ["agent_id, wallet_type"],
    "api_keys": ["key_hash"],
    "agent_balances": ["wallet_address, token_address"],
    "agent_positions": ["agent_id, wallet_address, token_address", "purchase_transaction_id"],
    "signal_executions": ["signal_id, agent_id"],
    "agent_balance_snapshots": ["agent_id, wallet_address, snapshot_timestamp"],
}

INDEXES = {
    "agents": ["user_id", "automated_trading_simulation", "automated_trading_live"],
    "agent_wallets": ["agent_id"],
    "api_keys": ["user_id", "key_hash"],
    "agent_balances": ["agent_id", "wallet_address", "agent_id, wallet_address", "token_address"],
    "agent_positions": ["agent_id, wallet_address", "token_address", "agent_id", "purchase_transaction_id"],
    "agent_transactions": [
        "agent_id",
        "wallet_address",
        "agent_id, wallet_address",
        "transaction_type",
        "transaction_time",
        "signal_id",
        "agent_id, transaction_time",
        "agent_id, transaction_type",
    ],
    "agent_historical_swaps": [
        "agent_id",
        "wallet_address",
        "agent_id, wallet_address",
        "token_address",
        "signal_id",
        "purchase_transaction_id",
        "sale_transaction_id",
        "purchase_time",
        "sale_time",
        "agent_id, token_address",
        "agent_id, purchase_time",
        "agent_id, sale_time",
        "agent_id, created_at",
        "agent_id, signal_id",
    ],
    "trading_signals": ["token_address", "signal_type", "created_at", "user_id"],
    "signal_executions": ["signal_id", "agent_id"],
    "agent_balance_snapshots": [
        "agent_id, wallet_address, snapshot_timestamp",
        "wallet_address",
        "snapshot_timestamp",
    ],
}

# Where the name is not <table>_<columns>_<idx or key>: those would be longer than 63 characters.
SHORT_NAMES = {
    "agent_balance_snapshots_agent_id_wallet_address_snapshot_timestamp_key": "abs_agent_wallet_timestamp_key",
    "agent_balance_snapshots_agent_id_wallet_address_snapshot_timestamp_idx": "abs_agent_wallet_timestamp_idx",
    "agent_balance_snapshots_wallet_address_idx": "abs_wallet_address_idx",
}

SPELLED_OUT = {
    "timestamptz(6)": "timestamp(6) with time zone",
    "timestamptz": "timestamp with time zone",
    "varchar": "character varying",
}


def _expected_columns(block: str) -> dict[str, Column]:
    columns = {}
    for line in block.strip().splitlines():
        found = re.fullmatch(r"\s*(\w+)\s+(\S+)(\s+null)?(?:\s+= (.+))?", line)
        assert found is not None, line
        name, type_, null, default = found.groups()
        for short, long in SPELLED_OUT.items():
            type_ = re.sub(rf"^{re.escape(short)}(?=\(|$)", long, type_)
        columns[name] = Column(type_, nullable=null is not None, default=default)
    return columns


def expected_history() -> Catalog:
    constraints, indexes = {}, {}
    for table in COLUMNS:
        key = "wallet_address" if table == "agent_wallets" else "id"
        constraints[table, f"{table}_pkey"] = f"PRIMARY KEY ({key})"
    for table, keys in FOREIGN_KEYS.items():
        for column, target in keys.items():
            referred, action = target.split(" ", 1)
            constraints[table, f"{table}_{column}_fkey"] = (
                f"FOREIGN KEY ({column}) REFERENCES {referred} ON UPDATE CASCADE ON DELETE {action}"
            )
    for kind, create, suffix in ((UNIQUE, "CREATE UNIQUE INDEX", "key"), (INDEXES, "CREATE INDEX", "idx")):
        for table, of_table in kind.items():
            for columns in of_table:
                name = f"{table}_{columns.replace(', ', '_')}_{suffix}"
                name = SHORT_NAMES.get(name, name)
                indexes[name] = Index(table, f"{create} {name} ON {table} ({columns})")
    serial = "AS integer INCREMENT 1 MINVALUE 1 MAXVALUE 2147483647 START 1 CACHE 1 NO CYCLE"
    return Catalog(
        enums={'"TransactionType"': ("DEPOSIT", "WITHDRAWAL", "SWAP", "BURN")},
        sequences={"trading_signals_id_seq": Sequence(serial, "AS integer", owned_by="trading_signals.id")},
        tables=dict.fromkeys(COLUMNS, Table()),
        columns={table: _expected_columns(block) for table, block in COLUMNS.items()},
        constraints=constraints,
        indexes=indexes,
    )
