-- Deletes every alert.

DROP TABLE price_alerts;
