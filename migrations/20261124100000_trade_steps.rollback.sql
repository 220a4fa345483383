DROP FUNCTION prune_trade_requests_v1;
DROP FUNCTION lock_wallets_v1;
DROP FUNCTION finish_trade_v1;
DROP FUNCTION change_balances_v1;
DROP FUNCTION begin_trade_v1;
DROP FUNCTION transaction_taken_v1;
DROP FUNCTION first_result_v1;

DROP TYPE trade_result_v1;

DROP FUNCTION caller_acts_for;
DROP FUNCTION act_for_every_user;
DROP FUNCTION trade_id_of;
