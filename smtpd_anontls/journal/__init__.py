"""What happened, kept in a database: messages durably before they are acknowledged, the rest behind them."""
