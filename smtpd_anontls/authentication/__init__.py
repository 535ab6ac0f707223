"""Who a sender is: the token exchanges of AUTH and X-EXPS, and the users and identities behind them."""
