"""What EventBridge, CloudWatch alarms and CloudFormation invoke, outside the state machine."""
