-- revision: control_006
-- revises: control_005
-- summary: how a principal was authenticated, by its standard name

ALTER TABLE operation RENAME COLUMN proof TO auth_method;
