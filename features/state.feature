Feature: state outside of NATS

  As somebody whose services keep their data in files and databases of their own
  I want it to be in the snapshots of the app as all other data is
  So that a release that changes it begins with a copy of it, or not at all.

  Background:
    Given an environment with two orchestrators
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts |
      | orders  | 1.0.0   |         |
    And the manifest of the app shop is:
      """
      app: shop
      version: 1.0.0
      services:
        orders: {version: 1.0.0, instances: 0, state: {command: [sh, state.sh], on: {role: db}, timeout: 3s, maxMB: 1}}
      """

  Scenario: a command takes the state on the host that has it
    Given the file state.sh of the app shop is:
      """
      case $1 in
      take) echo "all orders" >$GOLIVE_SNAPSHOT_DIR/orders ;;
      check) grep -q "all orders" $GOLIVE_SNAPSHOT_DIR/orders ;;
      esac
      """
    And on the host web-1 somebody starts "golive agent --label role=web shop"
    And on the host db-1 somebody starts "golive agent --label role=db shop"
    When I run "golive deploy shop"
    Then it ends with code 0
    When I run "golive snapshot take shop"
    Then it ends with code 0
    When I run "golive snapshot show 0"
    Then the answer holds these lines:
      """
      orders  1.0.0   command orders -      …
      what orders keeps (command) was given by agent db-1
      """
    When I run "golive snapshot check 0"
    Then it ends with code 0
    When I run "golive snapshot drop 0"
    Then it ends with code 0

  Scenario Outline: a command that <does> takes nothing
    Given the file state.sh of the app shop is:
      """
      <script>
      """
    And on the host db-1 somebody starts "golive agent --label role=db shop"
    When I run "golive deploy shop"
    Then it ends with code 0
    When I run "golive snapshot take shop"
    Then it ends with code 1
    And I am told:
      """
      golive: error: service orders: agent db-1: <why>
      golive: hint: mend it where it runs, and try again
      """
    When I run "golive snapshot list"
    Then the answer is:
      """
      There is no snapshot here yet.
      """

    Examples:
      | does             | script                                             | why                                                                               |
      | fails            | echo no such database; exit 3                      | take: the state command of orders exited with code 3: no such database            |
      | hangs            | sleep 60                                           | it has not ended within 3s                                                        |
      | writes nothing   | exit 0                                             | take: the command has ended well, and has written nothing to its folder           |
      | writes too much  | head -c 2000000 /dev/zero >$GOLIVE_SNAPSHOT_DIR/a  | what the command has taken: a: it has written more than 1048576 bytes, which is … |

  Scenario: an agent dies while its command takes the state
    Given the file state.sh of the app shop is:
      """
      echo x >$GOLIVE_SNAPSHOT_DIR/x
      sleep 60
      """
    And on the host db-1 somebody starts "golive agent --label role=db shop"
    When I run "golive deploy shop"
    And I start "golive snapshot take shop"
    Then the agent db-1 logs "…state begins on this host…"
    When the agent db-1 is killed with SIGKILL
    And I go back to where I had started "golive snapshot take shop"
    Then it ends with code 1
    And I am told:
      """
      golive: error: service orders: agent db-1: it has died in the middle
      golive: hint: mend it where it runs, and try again
      """
    When I run "golive snapshot list"
    Then the answer is:
      """
      There is no snapshot here yet.
      """
