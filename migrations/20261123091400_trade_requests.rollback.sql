DROP TABLE trade_requests;
