"""Every sentence about results and alarms: page, terminal, webhooks and chats share them."""
